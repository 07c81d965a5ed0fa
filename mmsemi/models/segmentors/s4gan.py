# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""s4GAN: feature matching and self-training with an image-level discriminator.

Mittal, Tatarchenko, Brox, *Semi-Supervised Semantic Segmentation With High- and Low-Level
Consistency*, TPAMI 2021, https://arxiv.org/abs/1908.05724.

The discriminator sees a class map together with its image and gives one score. The student does not
try to fool it: the discriminator's mean feature of unlabelled maps is drawn to that of ground truth,
and an unlabelled image whose map it takes for ground truth is labelled by its own prediction.
"""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..losses import (
    cross_entropy,
    feature_matching_loss,
    masked_bce_with_logits,
    one_hot_maps,
    rescale_batch,
    selected_image_labels,
)
from .adversarial import AdversarialSegmentor, call_frozen
from .base import Inputs, Losses, Samples
from .network import confidence_and_labels, eval_mode, forward_network, pseudo_label_visuals


@MODELS.register_module()
class S4GAN(AdversarialSegmentor):
    """Feature matching and self-training.

    Needs ``optim_wrapper.constructor='JointOptimWrapperConstructor'`` with an optimiser for
    ``discriminator``.

    ``semi_train_cfg``:

    - ``matching_weight`` (0.1): feature matching.
    - ``unsup_weight`` (1.0): cross-entropy to the student's own labels on selected images.
    - ``threshold`` (0.6): score above which an image is selected (>). Published: VOC and Context
      0.6, Cityscapes 0.7, WiderResNet-38 0.55.
    - ``unsup_start`` (1): iteration from which selected images count.
    - ``score_mode`` (``'train'``): mode of the discriminator that scores; its dropout makes the
      published selection random, ``'eval'`` does not.
    - ``ignore_padding`` (True): padding of selected images gets no label; the released code labels
      it.
    """

    train_cfg_defaults = dict(
        matching_weight=0.1,
        unsup_weight=1.0,
        threshold=0.6,
        unsup_start=1,
        score_mode="train",
        ignore_padding=True,
    )
    image_channels = 3

    def _check_settings(self) -> None:
        super()._check_settings()
        self._check_choice("score_mode", ("train", "eval"))

    def loss(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """One iteration.

        Returns:
            ``sup.*``; ``adv.loss_matching``, ``unsup.loss_self``: weighted losses of the student;
            ``unsup.selected``: selected images; ``disc.loss``, ``disc.acc``: loss and accuracy (%)
            of the discriminator.
        """
        self._check_training_inputs(inputs)
        self._unlabeled(inputs)
        cfg = self.semi_train_cfg
        labeled = forward_network(self.student, inputs["sup"])
        losses = self.supervise("sup", self.student, labeled, data_samples["sup"])

        view = inputs["unsup_student"]
        logits = forward_network(self.student, view).logits_NCHW
        fake = torch.cat([self._probabilities(logits), rescale_batch(view)], 1)
        score, fake_feature = call_frozen(self.discriminator, fake)
        if cfg["score_mode"] == "eval":
            with eval_mode(self.discriminator):
                score = self.discriminator(fake)[0]
        target, selected = selected_image_labels(
            logits, score, cfg["threshold"], self.ignore_index, self._valid_unlabeled(inputs)
        )
        own = cross_entropy(logits, target, self.ignore_index)

        real_images = inputs["gt"] if "gt" in inputs else inputs["sup"]
        labels = self._real_labels(data_samples)
        one_hot = one_hot_maps(labels, self.out_channels, self.ignore_index)
        real = torch.cat([one_hot, rescale_batch(real_images)], 1)
        with torch.no_grad():
            real_feature = self.discriminator(real)[1]
        matching = feature_matching_loss(real_feature, fake_feature)
        losses["adv.loss_matching"] = cfg["matching_weight"] * matching
        losses["unsup.loss_self"] = cfg["unsup_weight"] * self._started("unsup_start") * own
        losses["unsup.selected"] = selected.sum(dtype=torch.float32)
        losses.update(self._discriminator_losses(fake.detach(), real))
        if self.keep_visuals:
            self.visuals = pseudo_label_visuals(inputs, *confidence_and_labels(logits), target)
        return losses

    def _discriminator_losses(self, fake: Tensor, real: Tensor) -> Losses:
        """Half the mean loss of the fakes and half that of the ground truth, with new dropout."""
        fake_score, real_score = self.discriminator(fake)[0], self.discriminator(real)[0]
        loss = masked_bce_with_logits(fake_score, is_real=False)
        loss = loss + masked_bce_with_logits(real_score, is_real=True)
        right = (fake_score <= 0).sum() + (real_score > 0).sum()
        return {
            "disc.loss": 0.5 * loss,
            "disc.acc": 100 * right / (len(fake_score) + len(real_score)),
        }
