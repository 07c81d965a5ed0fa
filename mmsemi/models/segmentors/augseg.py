# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""AugSeg: a simple teacher-student method whose strength is in how its views are made.

Zhao, Yang, Long, Pi, Zhou, Wang, *Augmentation Matters: A Simple-Yet-Effective Approach to
Semi-Supervised Semantic Segmentation*, CVPR 2023, https://arxiv.org/abs/2212.04976. Equations, known
answers, and what we do differently: docs/methods/augseg.md.

An EMA teacher labels the weak view; the student learns its confident labels on a strong view of one
to three random colour operations (:class:`RandomIntensity`). The less sure the teacher is of an image,
the likelier it gets a box of a labelled image, and every image then gets a box of another one so
prepared (:class:`LabelPaste`).

Decisions:

- The divisor of the unsupervised loss is the number of all pixels, and the teacher's labels on padding
  count, both as released; ``ignore_padding=True`` leaves padding out of both.
- Through the first pass over the unlabelled images the teacher is a copy of the student, as released.
  How many steps a pass has follows from the data and the batch when a run starts.
- The released code has no ramp-up and starts from ImageNet weights; ``rampup_iters`` is for networks
  that start from random ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmseg.registry import MODELS

from ...structures import SemiBatch
from ..ema import EMATeacher
from ..forward import forward
from ..losses import confident_cross_entropy, kept_share
from ..settings import ThresholdSettings, setting
from .base import Losses, SemiSegmentor


@dataclass(frozen=True)
class AugSegSettings(ThresholdSettings):
    """Settings of :class:`AugSeg`."""

    threshold: float = setting(
        0.95,
        "tau, the least confidence of a label that counts (>=); below 0, published for Cityscapes, "
        "every pixel does",
        low=-1,
        high=1,
    )
    unsup_weight: float = setting(1.0, "weight of the unsupervised loss", low=0)
    rampup_iters: int = setting(
        0,
        "iterations over which `unsup_weight` grows as exp(-5 (1 - t/T)^2); published: none",
        low=0,
    )
    labeled_forward: str = setting(
        "strong",
        "the labelled images share the forward, and thereby the batch-norm statistics, of the strong "
        "views, as released; `'alone'`: they have a forward of their own",
        choices=("strong", "alone"),
    )
    ignore_padding: bool = setting(
        False, "leave padded borders out of the unsupervised loss and its divisor"
    )
    momentum: float = setting(
        0.001,
        "weight of the new value in the teacher's average, 1 - decay; published: VOC 0.001, "
        "Cityscapes 0.004",
        low=0,
        high=1,
    )
    copy_passes: float = setting(
        1.0,
        "passes over the unlabelled images through which the teacher is a copy of the student",
        low=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labeled_forward == "strong":
            self.refuse_shared_forward("labeled_forward", "'alone'")


@MODELS.register_module()
class AugSeg(SemiSegmentor):
    """AugSeg: intensity operations for the view, labelled boxes for images that are hard.

    E.g. ``strong=dict(type='RandomIntensity'), mix=dict(type='LabelPaste')``.
    """

    Settings = AugSegSettings
    settings: AugSegSettings

    def build_networks(self, network: dict) -> None:
        """The student and its teacher."""
        super().build_networks(network)
        cfg = self.settings
        self.teacher = EMATeacher(
            self.student, cfg.momentum, warmup=True, buffers="ema", copy_passes=cfg.copy_passes
        )

    def loss(self, batch: SemiBatch) -> Losses:
        """One iteration.

        Returns:
            ``sup.*``: supervised losses; ``unsup.loss_strong``: the weighted loss of the strong,
            mixed views; ``unsup.mask_ratio``: share of their labels that are confident;
            ``unsup.certainty``: how sure the teacher is of the images, 1 minus the probability of a
            labelled box, where the mix asks for it.
        """
        cfg, student, x, weak = self.settings, self.student, batch.labeled, batch.unlabeled
        with torch.no_grad():
            taught = forward(self.teacher.module, weak.pixels_NCHW)
        pseudo = self.pseudo_labels(taught.logits_NCHW)
        threshold = self.thresholds(pseudo, weak)

        strong, recipe = self.mixed_views(batch, pseudo=pseudo)
        target = recipe.apply_labels(
            pseudo, batch, ignore_index=self.ignore_index, ignore_padding=cfg.ignore_padding
        )
        if cfg.labeled_forward == "strong":
            both = forward(student, torch.cat([x.pixels_NCHW, strong]))
            labeled, unlabeled = both.split([len(x), len(strong)])
        else:
            labeled = forward(student, x.pixels_NCHW)
            unlabeled = self.forward_strong(student, strong)

        losses = self.supervised("sup", student, labeled, x)
        unsupervised = confident_cross_entropy(
            unlabeled.logits_NCHW,
            target,
            threshold,
            self.ignore_index,
            over_all=not cfg.ignore_padding,
        )
        losses["unsup.loss_strong"] = cfg.unsup_weight * self.rampup() * unsupervised
        losses["unsup.mask_ratio"] = kept_share(target, threshold, self.ignore_index)
        if pseudo.certainty_N is not None:
            losses["unsup.certainty"] = pseudo.certainty_N.mean()
        self.show_confident(weak, pseudo, strong, target, recipe.first, threshold)
        return losses
