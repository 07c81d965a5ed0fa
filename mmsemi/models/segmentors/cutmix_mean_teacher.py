# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CutMix mean teacher: the student must give the mixed prediction on the mixed image.

French, Laine, Aila, Mackiewicz, Finlayson, *Semi-supervised semantic segmentation needs strong,
varied perturbations*, BMVC 2020, https://arxiv.org/abs/1906.01916. Equations, known answers, and what
we do differently: docs/methods/cutmix_mean_teacher.md.

The step is that of :class:`MeanTeacher` on two weak views and their mix; the settings differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmseg.registry import MODELS

from ..losses import CONSISTENCY_FORMS
from ..settings import setting
from .mean_teacher import MeanTeacher, MeanTeacherSettings


@dataclass(frozen=True)
class CutMixMeanTeacherSettings(MeanTeacherSettings):
    """Settings of :class:`CutMixMeanTeacher`: those of mean teacher with the defaults of French et al."""

    predict_on: str | None = setting("teacher", "`'teacher'` or `'student'`")
    unsup_weight: float = setting(1.0, "weight of the consistency loss", low=0)
    consistency: str = setting(
        "squared_distance", "distance of the predictions", choices=CONSISTENCY_FORMS
    )
    confidence_threshold: float | None = setting(
        0.97, "least confidence of the teacher that counts (>=)", low=0, high=1
    )
    consistency_on_labeled: bool = setting(False, "compare on the labelled images too")
    ignore_padding: bool = setting(True, "leave padded borders out of the consistency")
    buffers: str = setting(
        "ema",
        "the teacher's batch-norm statistics are an average, or the student's (`'copy'`), or its own "
        "(`'keep'`)",
        choices=("keep", "copy", "ema"),
    )
    ema_when: str = setting(
        "after",
        "average after the optimiser step, or `'mid'`: between the labelled and the unlabelled "
        "forward",
        choices=("mid", "after"),
    )


@MODELS.register_module()
class CutMixMeanTeacher(MeanTeacher):
    """Mean teacher on mixed images, e.g. ``mix=dict(type='CutMix', num_boxes=1, area_range=(0.5, 0.5))``.

    Args:
        segmentor: Config of any mmseg segmentor with per-pixel logits.
        kwargs: See :class:`SemiSegmentor` and :class:`CutMixMeanTeacherSettings`.

    Raises:
        ConfigError: There is no ``mix``.
    """

    Settings = CutMixMeanTeacherSettings

    def __init__(self, segmentor: dict, **kwargs: Any) -> None:
        super().__init__(segmentor, **kwargs)
        if self.mix is None:
            self.settings.refuse(
                "mix",
                "the method trains on mixed images: set mix=dict(type='CutMix', num_boxes=1, "
                "area_range=(0.5, 0.5)), its published mask",
            )
