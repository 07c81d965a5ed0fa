# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""FixMatch for segmentation: confident labels of the weak view supervise a strong, mixed view.

Sohn et al., *FixMatch*, NeurIPS 2020, https://arxiv.org/abs/2001.07685; the segmentation form of the
UniMatch papers, https://arxiv.org/abs/2208.09910 (labels from the student itself) and
https://arxiv.org/abs/2410.10777 (labels from an EMA teacher). Equations, known answers, and what we do
differently: docs/methods/fixmatch.md.

Decisions:

- Both forms are one class: ``labels_from='student'`` has no teacher at all.
- The divisor of the unsupervised loss is the number of valid pixels of a view, confident or not, so
  that few confident pixels give a small loss.
- Nothing is back-propagated through a weak view whose gradient no loss uses: the student's own
  labels come from a forward without gradient, in train mode (batch statistics), as released.
- Labels that are pasted in by CutMix come from a forward in eval mode, as released, since the pasted
  image there belongs to another batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmseg.registry import MODELS

from ...structures import SemiBatch
from ..ema import EMATeacher
from ..forward import complete_labels, forward, label_pasted
from ..losses import confident_cross_entropy, kept_share
from ..settings import ThresholdSettings, setting
from .base import ComparedViews, Losses, SemiSegmentor


@dataclass(frozen=True)
class FixMatchSettings(ThresholdSettings):
    """Settings of :class:`FixMatch`."""

    num_views: int = setting(1, "strong views of each unlabelled image", low=1)
    labels_from: str = setting(
        "teacher",
        "who labels: the EMA `'teacher'` in eval mode (the FixMatch of UniMatch V2's code) or the "
        "`'student'` (of V1's)",
        choices=("teacher", "student"),
    )
    threshold: float = setting(
        0.95, "tau, the least confidence of a label that counts (>=)", low=0, high=1
    )
    unsure_pixels: str = setting(
        "dropped",
        "pixels whose label is less confident: `'dropped'`, or `'weighted'`: all count, times the share of "
        "confident ones in the batch (ClassMix)",
        choices=("dropped", "weighted"),
    )
    sup_weight: float = setting(0.5, "weight of the supervised loss", low=0)
    unsup_weight: float = setting(0.5, "weight of the unsupervised loss", low=0)
    rampup_iters: int = setting(
        0, "iterations over which `unsup_weight` grows as exp(-5 (1 - t/T)^2)", low=0
    )
    labeled_forward: str = setting(
        "alone",
        "the view that shares the forward, and thereby the batch-norm statistics, of the labelled "
        "images: none, `'weak'` (UniMatch's code; the student labels) or `'strong'` (V2's)",
        choices=("alone", "weak", "strong"),
    )
    pasted_mode: str = setting(
        "eval",
        "mode of the student that labels pasted pixels; `'train'` takes them from the forward that "
        "labels the rest, one forward less",
        choices=("eval", "train"),
    )
    momentum: float = setting(
        0.004, "weight of the new value in the teacher's average, 1 - decay", low=0, high=1
    )
    ema_warmup: bool = setting(True, "the average forgets the first weights at once")
    buffers: str = setting(
        "ema",
        "the teacher's batch-norm statistics are an average of the student's, or its own (`'copy'`)",
        choices=("ema", "copy"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labeled_forward == "strong":
            self.refuse_shared_forward("labeled_forward", "'alone'")
        if self.labels_from == "teacher":
            if self.labeled_forward == "weak":
                self.refuse("labeled_forward", "the student of a teacher never sees the weak view")
            self.refuse_unused("pasted_mode", reason="the teacher labels pasted pixels")
        else:
            names = ("momentum", "ema_warmup", "buffers")
            self.refuse_unused(*names, reason="with labels_from='student' there is no teacher")


@MODELS.register_module()
class FixMatch(SemiSegmentor):
    """FixMatch: hard labels above a threshold, from the student or from its EMA teacher.

    E.g. ``strong=dict(type='StrongPhotometric'), mix=dict(type='SingleBoxCutMix')``.
    """

    Settings = FixMatchSettings
    settings: FixMatchSettings

    def build_networks(self, network: dict) -> None:
        """The student, and the teacher if it labels."""
        super().build_networks(network)
        cfg = self.settings
        if cfg.labels_from == "teacher":
            self.teacher = EMATeacher(
                self.student, cfg.momentum, warmup=cfg.ema_warmup, buffers=cfg.buffers
            )

    def loss(self, batch: SemiBatch) -> Losses:
        """One iteration.

        Returns:
            ``sup.*``: weighted supervised losses; ``unsup.loss_strong``: the weighted mean of the
            losses of the strong views; ``unsup.mask_ratio``: share of valid pixels whose label is
            confident.
        """
        return self.compare(batch)[0]

    def compare(self, batch: SemiBatch) -> tuple[Losses, list[ComparedViews]]:
        """The losses of one iteration, and the views that were compared with pseudo-labels."""
        cfg, student, x, weak = self.settings, self.student, batch.labeled, batch.unlabeled
        count = self.num_mixed(weak)
        first = weak.pixels_NCHW[:count]  # what mixed images start from; the rest is only pasted

        # Pseudo-labels, and the labelled images where they do not wait for the strong views.
        pasted = labeled = None
        if not self.has_teacher and self.mix is not None:
            pasted = label_pasted(
                student, weak.pixels_NCHW, count, cfg.pasted_mode, self.pseudo_labels
            )
        if cfg.labeled_forward == "alone":
            labeled = forward(student, x.pixels_NCHW)
        if cfg.labeled_forward == "weak":
            both = forward(student, [x.pixels_NCHW, first])
            labeled, own = both.split([len(x), count])
        else:
            with torch.no_grad():
                own = (
                    forward(self.teacher.module, weak.pixels_NCHW)
                    if self.has_teacher
                    else forward(student, first)
                )
        pseudo, pasted = complete_labels(self.pseudo_labels(own.logits_NCHW), pasted, len(weak))
        threshold = self.thresholds(pseudo, weak)

        # Strong views, mixed as their labels are.
        strong, recipe = self.mixed_views(batch, cfg.num_views, pasted)
        target = recipe.apply_labels(pseudo, batch, pasted, self.ignore_index)
        if cfg.labeled_forward == "strong":
            both = forward(student, torch.cat([x.pixels_NCHW, strong]))
            labeled, unlabeled = both.split([len(x), len(strong)])
        else:
            unlabeled = self.forward_strong(student, strong)

        losses = self.supervised("sup", student, labeled, x)
        weight = cfg.unsup_weight * self.rampup()
        by_share = cfg.unsure_pixels == "weighted"
        unsupervised = confident_cross_entropy(
            unlabeled.logits_NCHW,
            target,
            threshold,
            self.ignore_index,
            cfg.num_views,
            by_share=by_share,
        )
        losses["unsup.loss_strong"] = weight * unsupervised
        losses["unsup.mask_ratio"] = kept_share(target, threshold, self.ignore_index)
        least = 0.0 if by_share else threshold
        self.show_confident(weak, pseudo, strong, target, recipe.first, least)
        logits = unlabeled.logits_NCHW
        return losses, [ComparedViews("strong", logits, recipe, weight, cfg.num_views)]
