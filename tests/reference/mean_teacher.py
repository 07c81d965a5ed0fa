# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Mean teacher for segmentation.

Tarvainen, Valpola, *Mean teachers are better role models: Weight-averaged consistency targets
improve semi-supervised deep learning results*, NeurIPS 2017, arXiv 1703.01780, section 2: the
student is drawn to the prediction of the average of its own weights. Checked against the form for
segmentation of charlesCXK/TorchSemiSeg, exp.voc/voc8.res50v3+.MeanTeacher/train.py and network.py,
commit 5e0c29c. The distances besides 'mse' are those of Britefury/cutmix-semisup-seg,
train_seg_semisup_mask_mt.py, commit af6183a.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Recipe, average, forward, mix, predict, split_streams, supervised_loss


def distance_map(student: Tensor, teacher: Tensor, form: str) -> Tensor:
    """Distance (N, H, W) of student and teacher logits (N, C, H, W) by its name in the code."""
    if form in ("logit_mse", "logit_smooth_l1"):
        distance = F.mse_loss if form == "logit_mse" else F.smooth_l1_loss
        return distance(student, teacher, reduction="none").sum(1) / student.shape[1] ** 0.5
    if form == "kl":
        return F.kl_div(
            student.log_softmax(1), teacher.log_softmax(1), reduction="none", log_target=True
        ).sum(1)
    p, q = student.softmax(1), teacher.softmax(1)
    if form == "bce":
        return -(q * (p + 1e-6).log() + (1 - q) * (1 - p + 1e-6).log()).sum(1)
    square = (p - q).square()
    return square.mean(1) if form == "mse" else square.sum(1)  # 'squared_distance'


def mean_teacher_step(
    student: nn.Module,
    teacher: nn.Module,
    labeled: Tensor,
    labels: Tensor,
    weak: Tensor,
    strong: Tensor,
    recipe: Recipe | None,
    valid: Tensor,
    *,
    unsup_weight: float,
    consistency: str = "mse",
    confidence_threshold: float | None = None,
    confidence_mode: str = "mean",
    consistency_on_labeled: bool = True,
    ignore_padding: bool = False,
    ema_when: str = "mid",
    momentum: float = 0.01,
    buffers: str = "keep",
) -> dict[str, Tensor]:
    """One iteration; with a recipe the student sees mixed images and the teacher their parts.

    Args:
        student: In train mode.
        teacher: In train mode as released; 'mid' moves its weights.
        labeled: Labelled images.
        labels: Their labels.
        weak: Unlabelled images as the teacher sees them.
        strong: The same as the student sees them; as released, no other view than ``weak``.
        recipe: How both are mixed.
        valid: Where ``weak`` is no padding.
        unsup_weight: Weight of the consistency.
        consistency: See :func:`distance_map`.
        confidence_threshold: Probability from which the teacher is trusted; None: always.
        confidence_mode: 'pixel': the others do not count; 'mean': the share of trusted pixels
            scales the loss.
        consistency_on_labeled: Whether labelled images are compared, too.
        ignore_padding: Whether padding, and void pixels of labelled images, do not count.
        ema_when: 'mid': the teacher moves between its two forwards; 'after': elsewhere.
        momentum: See :func:`~reference.blocks.average`.
        buffers: See :func:`~reference.blocks.average`.
    """
    feats, on_labeled = forward(student, labeled)
    losses = {"sup": supervised_loss(student, feats, on_labeled, labels)}
    students, teachers, counted = [], [], []
    if consistency_on_labeled:
        students, teachers = [on_labeled], [predict(teacher, labeled)]
        counted = [labels != student.decode_head.ignore_index]
    if ema_when == "mid":
        average(teacher, student, momentum, buffers)
    # The teacher sees one stream after the other, and no mixed image: its logits are mixed.
    targets = torch.cat([predict(teacher, stream) for stream in split_streams(recipe, weak)])
    teachers = torch.cat([*teachers, mix(recipe, targets)])
    students = torch.cat([*students, forward(student, mix(recipe, strong))[1]])

    distance = distance_map(students, teachers, consistency)
    if ignore_padding:
        distance = distance * torch.cat([*counted, mix(recipe, valid)])
    if confidence_threshold is not None:
        trusted = (teachers.softmax(1).amax(1) >= confidence_threshold).to(distance.dtype)
        distance = distance * (trusted if confidence_mode == "pixel" else trusted.mean())
    losses["unsup.loss_consistency"] = unsup_weight * distance.mean()  # over all pixels
    return losses
