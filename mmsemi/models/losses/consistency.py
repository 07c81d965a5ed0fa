# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Consistency of two predictions of the same pixels: distances, confidence, and their mean.

Tarvainen and Valpola, *Mean teachers are better role models*, NeurIPS 2017, arXiv 1703.01780; the
forms, thresholds and normalisers for segmentation of French et al., BMVC 2020, arXiv 1906.01916.

Shape suffixes: N images, C classes, H rows, W columns.

Decisions:

* The divisor is the number of all pixels, confident or not, valid or not, as in both released
  codes: fewer trusted pixels give a smaller loss, not a noisier one of equal size.
* Softmax, thresholds and logarithms are computed in float32, under autocast too.
* The teacher's logits are detached here, whatever the caller did.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def _mse(student: Tensor, teacher: Tensor) -> Tensor:
    return (student.softmax(1) - teacher.softmax(1)).square().mean(1)


def _squared_distance(student: Tensor, teacher: Tensor) -> Tensor:
    return (student.softmax(1) - teacher.softmax(1)).square().sum(1)


def _kl(student: Tensor, teacher: Tensor) -> Tensor:
    log_teacher = teacher.log_softmax(1)
    return (log_teacher.exp() * (log_teacher - student.log_softmax(1))).sum(1)


def _bce(student: Tensor, teacher: Tensor) -> Tensor:
    # The class probabilities as C binary ones; eps as in the released code.
    eps = 1e-6
    p, q = student.softmax(1), teacher.softmax(1)
    return -(q * (p + eps).log() + (1 - q) * (1 - p + eps).log()).sum(1)


def _logit_mse(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().sum(1) / student.shape[1] ** 0.5


def _logit_smooth_l1(student: Tensor, teacher: Tensor) -> Tensor:
    return F.smooth_l1_loss(student, teacher, reduction="none").sum(1) / student.shape[1] ** 0.5


#: Distances of student and teacher logits (N, C, H, W) float32, as a map (N, H, W).
CONSISTENCY_FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = dict(
    mse=_mse,
    squared_distance=_squared_distance,
    kl=_kl,
    bce=_bce,
    logit_mse=_logit_mse,
    logit_smooth_l1=_logit_smooth_l1,
)


def confidence_weight(teacher_NCHW: Tensor, threshold: float, mode: str = "mean") -> Tensor:
    """How much the teacher is trusted: pixels with a class probability of at least ``threshold``.

    Args:
        teacher_NCHW: The teacher's logits.
        threshold: Probability in [0, 1]; the comparison is >=.
        mode: ``'pixel'``: 1 or 0 for each pixel. ``'mean'``: their share of the whole batch, one
            number for all pixels (French et al.'s default, which acts as a ramp-up).

    Returns:
        (N, H, W) or 0-d, float32, without gradient.
    """
    top_NHW = teacher_NCHW.detach().float().softmax(1).amax(1)
    confident_NHW = (top_NHW >= threshold).float()
    return confident_NHW.mean() if mode == "mean" else confident_NHW


def consistency_loss(
    student_NCHW: Tensor,
    teacher_NCHW: Tensor,
    form: str = "mse",
    confidence: Tensor | None = None,
    valid_NHW: Tensor | None = None,
) -> Tensor:
    """Mean over all pixels of distance x validity x confidence.

    Args:
        student_NCHW: Logits, any float type.
        teacher_NCHW: Logits of the same shape; no gradient flows into them.
        form: A key of :data:`CONSISTENCY_FORMS`: ``'mse'`` is the mean over the classes of the
            squared difference of probabilities (mean teacher), ``'squared_distance'`` their sum
            (French et al.), C times as large.
        confidence: Weight of the pixels, (N, H, W) or 0-d, see :func:`confidence_weight`.
        valid_NHW: bool, False on padding.

    Returns:
        0-d tensor; 0 with a graph when nothing counts.

    Raises:
        ValueError: ``form`` is unknown, or the shapes differ.
    """
    if form not in CONSISTENCY_FORMS:
        raise ValueError(f"consistency form {form!r} is none of {', '.join(CONSISTENCY_FORMS)}")
    if student_NCHW.shape != teacher_NCHW.shape:
        raise ValueError(
            f"consistency of logits of shapes {tuple(student_NCHW.shape)} and "
            f"{tuple(teacher_NCHW.shape)}"
        )
    with torch.autocast(student_NCHW.device.type, enabled=False):
        distance_NHW = CONSISTENCY_FORMS[form](student_NCHW.float(), teacher_NCHW.detach().float())
    for factor in (valid_NHW, confidence):
        if factor is not None:
            distance_NHW = distance_NHW * factor
    return distance_NHW.mean()
