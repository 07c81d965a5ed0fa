# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Mean teacher: the student is drawn to the prediction of an average of its own weights.

Tarvainen, Valpola, *Mean teachers are better role models*, NeurIPS 2017,
https://arxiv.org/abs/1703.01780, as the CPS authors moved it to segmentation (TorchSemiSeg). Equations,
known answers, and what we do differently: docs/methods/mean_teacher.md.

Decisions:

- One forward per image stream (labelled, u0, u1, mixed), because each has batch-norm statistics of
  its own in both released codes.
- Logits are mixed, then compared: the teacher never sees a mixed image.
- The teacher of the released mean teacher is in train mode, keeps its own batch-norm statistics and
  is averaged between the labelled and the unlabelled forward; all three are options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...structures import SemiBatch
from ..ema import EMATeacher
from ..forward import forward, hard_labels
from ..losses import CONSISTENCY_FORMS, confidence_weight, consistency_loss
from ..settings import BatchTeacherSettings, MixSettings, setting
from .base import Losses, SemiSegmentor


@dataclass(frozen=True)
class MeanTeacherSettings(MixSettings, BatchTeacherSettings):
    """Settings of :class:`MeanTeacher`."""

    predict_on: str | None = setting("student", "`'student'` (as released) or `'teacher'`")
    unsup_weight: float = setting(
        100.0,
        "weight of the consistency loss; belongs to `consistency`: 100 with `'mse'` is about 100/C "
        "with `'squared_distance'`",
        low=0,
    )
    rampup_iters: int = setting(
        0, "iterations over which the weight grows as exp(-5 (1 - t/T)^2)", low=0
    )
    consistency: str = setting("mse", "distance of the predictions", choices=CONSISTENCY_FORMS)
    confidence_threshold: float | None = setting(
        None, "least confidence of the teacher that counts (>=)", low=0, high=1
    )
    confidence_mode: str = setting(
        "mean",
        "`'pixel'`: pixels below the threshold do not count; `'mean'`: the share of confident pixels "
        "weights all of them",
        choices=("mean", "pixel"),
    )
    consistency_on_labeled: bool = setting(True, "compare on the labelled images too")
    ignore_padding: bool = setting(
        False, "leave padded borders (of labelled images also void) out of the consistency"
    )
    ema_when: str = setting(
        "mid",
        "average between the labelled and the unlabelled forward, or `'after'` the optimiser step",
        choices=("mid", "after"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.confidence_threshold is None:
            self.refuse_unused("confidence_mode", reason="without confidence_threshold")


@MODELS.register_module()
class MeanTeacher(SemiSegmentor):
    """Student and exponential moving average of its weights, drawn to the same prediction.

    Args:
        segmentor: Config of any mmseg segmentor with per-pixel logits.
        kwargs: See :class:`SemiSegmentor` and :class:`MeanTeacherSettings`.

    Raises:
        ConfigError: A setting is wrong, or ``mix`` pastes labels.
    """

    Settings = MeanTeacherSettings
    settings: MeanTeacherSettings

    def __init__(self, segmentor: dict, **kwargs: Any) -> None:
        super().__init__(segmentor, **kwargs)
        if self.mix is not None and self.mix.pastes_labels:
            self.settings.refuse(
                "mix", "the method compares predictions, and a pasted label is none: use CutMix"
            )

    def build_networks(self, network: dict) -> None:
        """Student and teacher."""
        super().build_networks(network)
        cfg = self.settings
        self.teacher = EMATeacher(
            self.student,
            cfg.momentum,
            buffers=cfg.buffers,
            mode=cfg.teacher_mode,
            when=cfg.ema_when,
        )

    def loss(self, batch: SemiBatch) -> Losses:
        """One iteration.

        Returns:
            ``sup.*``: the student's supervised losses; ``unsup.loss_consistency``: the weighted
            distance to the teacher; ``unsup.confident``: share of unlabelled pixels above the
            threshold, if there is one; ``unsup.agree``: share on which both give the same class.
        """
        cfg, x, weak = self.settings, batch.labeled, batch.unlabeled
        labeled = forward(self.student, x.pixels_NCHW)
        losses = self.supervised("sup", self.student, labeled, x)
        compared, targets, valid = [], [], []
        if cfg.consistency_on_labeled:
            compared.append(labeled.logits_NCHW)
            targets.append(self._teach(x.pixels_NCHW))
            valid.append(x.labels_NHW != self.ignore_index)
        self.teacher.update_if_due()

        streams = weak.pixels_NCHW.split(self.num_mixed(weak))
        weak_logits = torch.cat([self._teach(stream) for stream in streams])
        pseudo = self.pseudo_labels(weak_logits) if self.mix and self.mix.uses_labels else None
        mixed, recipe = self.mixed_views(batch, pseudo=pseudo)
        target = recipe.apply(weak_logits)
        logits = self.forward_strong(self.student, mixed).logits_NCHW
        compared.append(logits)
        targets.append(target)
        valid.append(recipe.apply(weak.valid_NHW))

        # One mean over the pixels of all images together.
        student, teacher = torch.cat(compared), torch.cat(targets)
        confidence = None
        if cfg.confidence_threshold is not None:
            confidence = confidence_weight(teacher, cfg.confidence_threshold, cfg.confidence_mode)
            losses["unsup.confident"] = confidence.mean()
        counted = torch.cat(valid) if cfg.ignore_padding else None
        distance = consistency_loss(student, teacher, cfg.consistency, confidence, counted)
        losses["unsup.loss_consistency"] = cfg.unsup_weight * self.rampup() * distance
        losses["unsup.agree"] = (hard_labels(logits) == hard_labels(target)).float().mean()
        if self.is_watched:
            label = hard_labels(target)
            if confidence is not None:  # one number for all pixels, or one each
                kept = confidence > 0 if confidence.ndim == 0 else confidence[-len(label) :] > 0
                label = torch.where(kept, label, self.ignore_index)
            self.show(weak, weak_logits, mixed, label, recipe.first)
        return losses

    @property
    def keeps_by_threshold(self) -> bool:
        """Where the threshold leaves pixels out."""
        return self.settings.confidence_mode == "pixel" and bool(self.settings.confidence_threshold)

    @torch.no_grad()
    def _teach(self, x_NCHW: Tensor) -> Tensor:
        """The teacher's logits."""
        return forward(self.teacher.module, x_NCHW).logits_NCHW
