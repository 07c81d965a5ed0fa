# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Losses of a multi-label image classifier: classification, consistency and its weight.

Mittal, Tatarchenko, Brox, *Semi-supervised semantic segmentation with high- and low-level
consistency*, TPAMI 2021, arXiv 1908.05724 (MLMT).

Shape suffixes: N images, C classes. Logits may be of any float type; everything is computed in
float32 at least, under autocast too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .adversarial import full_precision


def multilabel_bce(logits_NC: Tensor, target_NC: Tensor, known_N: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, mean over images and classes.

    mmpretrain's multi-label head divides by the number of images only, which is C times as much and
    changes the balance with the consistency.

    Args:
        logits_NC: One logit a class.
        target_NC: 1 for the classes that the image shows, else 0.
        known_N: bool, False for images of which nothing is known; they do not count.

    Returns:
        0-d tensor; 0 with a graph when no image counts.
    """
    logits_NC = full_precision(logits_NC)
    loss_NC = F.binary_cross_entropy_with_logits(
        logits_NC, target_NC.to(logits_NC), reduction="none"
    )
    if known_N is None:
        return loss_NC.mean()
    return (loss_NC.mean(1) * known_N).sum() / known_N.sum().clamp(min=1)


def cosine_consistency(student_NC: Tensor, teacher_NC: Tensor) -> Tensor:
    """Mean over the images of 1 - cos(student, teacher), of the logits.

    A vector of zeros has the cosine 0 with everything, and a finite gradient.

    Args:
        student_NC: Logits.
        teacher_NC: Logits of the same images; no gradient flows into them.
    """
    with torch.autocast(student_NC.device.type, enabled=False):
        cosine_N = F.cosine_similarity(
            full_precision(student_NC), full_precision(teacher_NC.detach()), dim=1
        )
    return (1 - cosine_N).mean()


def late_linear_weight(
    epoch: int, epochs: int = 100, start_epoch: int = 10, maximum: float = 1.0
) -> float:
    """Weight of the consistency: 0 up to ``start_epoch``, then 2/E more with each epoch.

    Args:
        epoch: Epoch e from 0.
        epochs: Epochs E of the whole training.
        start_epoch: Last epoch without consistency.
        maximum: Upper bound.
    """
    return min(maximum, max(0, epoch - start_epoch) * 2 / epochs)
