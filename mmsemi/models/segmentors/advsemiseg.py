# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""AdvSemiSeg: a discriminator as a loss, and as the judge of pseudo-labels.

Hung, Tsai, Liou, Lin, Yang, *Adversarial Learning for Semi-Supervised Semantic Segmentation*, BMVC
2018, https://arxiv.org/abs/1802.07934. Equations, known answers, and what we do differently:
docs/methods/advsemiseg.md.

A fully convolutional discriminator says for each pixel whether a class map is ground truth. What it
says is a loss for the segmentation network, and where the map of an unlabelled image convinces it,
the likeliest class is the pseudo-label of that pixel.

Modes: without unlabelled images in the batch the method is the paper's "adversarial" one, on all or
some of the labels; ``type='Supervised'`` is its baseline.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from ...structures import SemiBatch
from ..forward import call_frozen, forward
from ..losses import (
    cross_entropy,
    full_precision,
    masked_bce_with_logits,
    one_hot_maps,
    trusted_labels,
)
from ..settings import ViewSettings, setting
from .adversarial import AdversarialSegmentor
from .base import Losses


@dataclass(frozen=True)
class AdvSemiSegSettings(ViewSettings):
    """Settings of :class:`AdvSemiSeg`."""

    adv_weight: float = setting(0.01, "weight of the adversarial loss on labelled images", low=0)
    unsup_adv_weight: float = setting(0.001, "the same on unlabelled images", low=0)
    unsup_weight: float = setting(0.1, "weight of the cross-entropy to the trusted labels", low=0)
    threshold: float = setting(
        0.2, "least probability of 'ground truth' that makes a pixel trusted (>=)", low=0, high=1
    )
    unsup_start: int = setting(5000, "iteration from which the trusted labels count", low=0)
    unsup_adv_start: int = setting(
        0, "iteration from which the adversarial loss on unlabelled images counts", low=0
    )
    judge_unlabeled: bool = setting(
        True, "the discriminator learns from maps of unlabelled images, too"
    )
    ignore_padding: bool = setting(
        True, "padding of unlabelled images counts nowhere; the released code counts it"
    )


@MODELS.register_module()
class AdvSemiSeg(AdversarialSegmentor):
    """Adversarial learning with a pixel discriminator.

    Needs ``optim_wrapper.constructor='JointOptimWrapperConstructor'`` with an optimiser for
    ``discriminator``.
    """

    Settings = AdvSemiSegSettings
    settings: AdvSemiSegSettings
    needs_unlabeled = False

    def loss(self, batch: SemiBatch) -> Losses:
        """One iteration of section 3 of the paper.

        Returns:
            ``sup.*`` without the accuracy; ``adv.loss_labeled``, ``adv.loss_unlabeled``,
            ``unsup.loss_trusted``: weighted losses of the student; ``unsup.trusted``: share of
            trusted pixels; ``disc.loss``, ``disc.acc``: loss and accuracy (%) of the discriminator.
        """
        cfg, x, u = self.settings, batch.labeled, batch.unlabeled
        u_logits = None
        if u is not None:  # first, as published: it is in the running statistics
            view = self.strong_view(u, batch)
            u_logits = self.forward_strong(self.student, view).logits_NCHW
        labeled = forward(self.student, x.pixels_NCHW)
        losses = self.supervised("sup", self.student, labeled, x)
        # The log holds eight values; this one says little that the loss beside it does not.
        losses.pop("sup.decode.acc_seg", None)

        # The student on labelled images: its maps shall pass for ground truth.
        x_maps = full_precision(labeled.logits_NCHW).softmax(1)
        x_valid = x.labels_NHW != self.ignore_index
        disc_logits = self._discriminate(x_maps, frozen=True)
        adversarial = masked_bce_with_logits(disc_logits, is_real=True, valid=x_valid)
        losses["adv.loss_labeled"] = cfg.adv_weight * adversarial
        fakes, fakes_valid = [x_maps], [x_valid]

        # And on unlabelled ones, where those pixels that do pass get a pseudo-label.
        if u is not None:
            u_maps = full_precision(u_logits).softmax(1)
            u_valid = u.valid_NHW if cfg.ignore_padding else torch.ones_like(u.valid_NHW)
            disc_logits = self._discriminate(u_maps, frozen=True)
            target = trusted_labels(
                u_logits, disc_logits, cfg.threshold, self.ignore_index, u_valid
            )
            adversarial = masked_bce_with_logits(disc_logits, is_real=True, valid=u_valid)
            trusted = cross_entropy(u_logits, target, self.ignore_index)
            losses["adv.loss_unlabeled"] = (
                cfg.unsup_adv_weight * self.started(cfg.unsup_adv_start) * adversarial
            )
            losses["unsup.loss_trusted"] = (
                cfg.unsup_weight * self.started(cfg.unsup_start) * trusted
            )
            share = (target != self.ignore_index).sum() / u_valid.sum().clamp(min=1)
            losses["unsup.trusted"] = share
            is_used = bool(self.started(cfg.unsup_start))
            self.show(u, u_logits, view, target, is_used=is_used)
            if cfg.judge_unlabeled:
                fakes.append(u_maps)
                fakes_valid.append(u_valid)

        # The discriminator: half the mean loss of all fakes and half that of the ground truth.
        labels = self.real_images(batch).labels_NHW
        one_hot = one_hot_maps(labels, x_maps.shape[1], self.ignore_index)
        real = self._discriminate(one_hot.to(x_maps.dtype))
        fake = self._discriminate(torch.cat(fakes).detach())
        real_valid, fake_valid = labels != self.ignore_index, torch.cat(fakes_valid)
        loss = masked_bce_with_logits(fake, is_real=False, valid=fake_valid)
        loss = loss + masked_bce_with_logits(real, is_real=True, valid=real_valid)
        right = ((real[:, 0] > 0) & real_valid).sum() + ((fake[:, 0] <= 0) & fake_valid).sum()
        counted = (real_valid.sum() + fake_valid.sum()).clamp(min=1)
        losses |= {"disc.loss": 0.5 * loss, "disc.acc": 100 * right / counted}
        return losses

    def _discriminate(self, maps_NCHW: Tensor, frozen: bool = False) -> Tensor:
        """The discriminator's logits (N, 1, H, W), at the size of the maps."""
        net = self.discriminator
        logits = call_frozen(net, maps_NCHW) if frozen else net(maps_NCHW)
        return F.interpolate(
            full_precision(logits), maps_NCHW.shape[-2:], mode="bilinear", align_corners=True
        )
