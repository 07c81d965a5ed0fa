# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""s4GAN: feature matching and self-training with an image-level discriminator.

Mittal, Tatarchenko, Brox, *Semi-Supervised Semantic Segmentation With High- and Low-Level
Consistency*, TPAMI 2021, https://arxiv.org/abs/1908.05724. Equations, known answers, and what we do
differently: docs/methods/s4gan.md.

The discriminator sees a class map together with its image and gives one score. The student does not
try to fool it: the discriminator's mean feature of unlabelled maps is drawn to that of ground truth,
and an unlabelled image whose map it takes for ground truth is labelled by its own prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmseg.registry import MODELS

from ...structures import SemiBatch
from ..forward import call_frozen, eval_mode, forward
from ..losses import (
    cross_entropy,
    feature_matching_loss,
    full_precision,
    masked_bce_with_logits,
    one_hot_maps,
    rescale_batch,
    selected_image_labels,
)
from ..settings import ViewSettings, setting
from .adversarial import AdversarialSegmentor
from .base import Losses


@dataclass(frozen=True)
class S4GANSettings(ViewSettings):
    """Settings of :class:`S4GAN`."""

    matching_weight: float = setting(0.1, "weight of feature matching", low=0)
    unsup_weight: float = setting(
        1.0, "weight of the cross-entropy to the student's labels on selected images", low=0
    )
    threshold: float = setting(
        0.6,
        "score above which an image is selected (>); published: VOC and Context 0.6, Cityscapes 0.7, "
        "WiderResNet-38 0.55",
        low=0,
        high=1,
    )
    unsup_start: int = setting(1, "iteration from which selected images count", low=0)
    score_mode: str = setting(
        "train",
        "mode of the discriminator that scores; its dropout makes the published selection random, "
        "`'eval'` does not",
        choices=("train", "eval"),
    )
    ignore_padding: bool = setting(
        True, "padding of selected images gets no label; the released code labels it"
    )


@MODELS.register_module()
class S4GAN(AdversarialSegmentor):
    """Feature matching and self-training.

    Needs ``optim_wrapper.constructor='JointOptimWrapperConstructor'`` with an optimiser for
    ``discriminator``.
    """

    Settings = S4GANSettings
    settings: S4GANSettings
    image_channels = 3

    def loss(self, batch: SemiBatch) -> Losses:
        """One iteration.

        Returns:
            ``sup.*``; ``adv.loss_matching``, ``unsup.loss_self``: weighted losses of the student;
            ``unsup.selected``: selected images; ``disc.loss``, ``disc.acc``: loss and accuracy (%)
            of the discriminator.
        """
        cfg, x, u, discriminator = (
            self.settings,
            batch.labeled,
            batch.unlabeled,
            self.discriminator,
        )
        labeled = forward(self.student, x.pixels_NCHW)
        losses = self.supervised("sup", self.student, labeled, x)

        # The unlabelled images and their class maps; those that pass are labelled by the student.
        view = self.strong_view(u, batch)
        logits = self.forward_strong(self.student, view).logits_NCHW
        fake = torch.cat([full_precision(logits).softmax(1), rescale_batch(view)], 1)
        score, fake_feature = call_frozen(discriminator, fake)
        if cfg.score_mode == "eval":
            with eval_mode(discriminator):
                score = discriminator(fake)[0]
        valid = u.valid_NHW if cfg.ignore_padding else torch.ones_like(u.valid_NHW)
        target, selected = selected_image_labels(
            logits, score, cfg.threshold, self.ignore_index, valid
        )
        self_training = cross_entropy(logits, target, self.ignore_index)

        # Ground truth with its images: the feature that the student's maps are drawn to.
        truth = self.real_images(batch)
        one_hot = one_hot_maps(truth.labels_NHW, logits.shape[1], self.ignore_index)
        real = torch.cat([one_hot, rescale_batch(truth.pixels_NCHW)], 1)
        with torch.no_grad():
            real_feature = discriminator(real)[1]
        matching = feature_matching_loss(real_feature, fake_feature)
        losses["adv.loss_matching"] = cfg.matching_weight * matching
        losses["unsup.loss_self"] = cfg.unsup_weight * self.started(cfg.unsup_start) * self_training
        losses["unsup.selected"] = selected.sum(dtype=torch.float32)

        # The discriminator: half the mean loss of the fakes and half that of the ground truth, with
        # new dropout.
        fake_score, real_score = discriminator(fake.detach())[0], discriminator(real)[0]
        loss = masked_bce_with_logits(fake_score, is_real=False)
        loss = loss + masked_bce_with_logits(real_score, is_real=True)
        right = (fake_score <= 0).sum() + (real_score > 0).sum()
        losses["disc.loss"] = 0.5 * loss
        losses["disc.acc"] = 100 * right / (len(fake_score) + len(real_score))
        self.show(u, logits, view, target, is_used=bool(self.started(cfg.unsup_start)))
        return losses
