# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""AugSeg: random colours, then labelled boxes that arrive second-hand where the teacher is unsure.

Zhao, Yang, Long, Pi, Zhou, Wang, *Augmentation Matters: A Simple-yet-Effective Approach to
Semi-supervised Semantic Segmentation*, CVPR 2023, arXiv 2212.04976; checked against ZhenZHAO/AugSeg,
train_semi.py and augseg/dataset/augs_ALIA.py, commit 7ead870.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import forward, forward_together, predict, supervised_loss


class Exchange(NamedTuple):
    """What the two mixes of U unlabelled images draw.

    Attributes:
        partner: (U,) int64, the permutation that serves both.
        labeled_boxes: (U, 1, H, W) bool, where image i gets a labelled one, if it does.
        mix_boxes: (U, 1, H, W) bool, where image i gets its partner, so prepared.
        draws: (U,) uniform numbers; above the confidence in image i, it gets a labelled box.
    """

    partner: Tensor
    labeled_boxes: Tensor
    mix_boxes: Tensor
    draws: Tensor


def confidence_in_images(probabilities: Tensor) -> Tensor:
    """Mean over all pixels of (1 - entropy / its largest value) x the likeliest class' probability."""
    entropy = -torch.xlogy(probabilities, probabilities).sum(1)
    certain = 1 - entropy / math.log(probabilities.shape[1])
    return (certain * probabilities.max(1).values).mean((1, 2))


def exchange_boxes(
    exchange: Exchange, is_unsure: Tensor, unlabeled: Tensor, labeled: Tensor
) -> Tensor:
    """Images (U, 3, H, W) or maps (U, H, W) after both mixes.

    Args:
        exchange: Partners and boxes.
        is_unsure: (U,) bool, which images get a labelled box.
        unlabeled: What the unlabelled images show.
        labeled: What the labelled ones show; image j takes that of its partner's number.
    """
    inject, mix = exchange.labeled_boxes & is_unsure.view(-1, 1, 1, 1), exchange.mix_boxes
    if unlabeled.ndim == 3:
        inject, mix = inject[:, 0], mix[:, 0]
    given = labeled[exchange.partner % len(labeled)]
    prepared = torch.where(inject, given, unlabeled)
    return torch.where(mix, prepared[exchange.partner], unlabeled)


def augseg_step(
    student: nn.Module,
    teacher: nn.Module,
    labeled: Tensor,
    labels: Tensor,
    weak: Tensor,
    strong: Tensor,
    exchange: Exchange | None,
    valid: Tensor,
    *,
    threshold: float = 0.95,
    unsup_weight: float = 1.0,
    labeled_forward: str = "strong",
    ignore_padding: bool = False,
) -> dict[str, Tensor]:
    """One iteration; afterwards the teacher is averaged, its buffers too.

    Args:
        student: In train mode.
        teacher: In eval mode.
        labeled: Labelled images.
        labels: Their labels, 255 where there is none.
        weak: Unlabelled images.
        strong: Their strong views.
        exchange: How they are mixed; None: not at all.
        valid: Where ``weak`` is no padding.
        threshold: tau, the least confidence of a label that counts.
        unsup_weight: Weight of the unsupervised loss.
        labeled_forward: Whether the labelled images share the forward of the 'strong' views, as
            released, or are 'alone'.
        ignore_padding: Leave padding out of the loss and of its divisor.
    """
    probabilities = predict(teacher, weak).softmax(1)
    confidence, label = probabilities.max(1)
    if ignore_padding:
        label = torch.where(valid, label, 255)
    if exchange is not None:
        is_unsure = exchange.draws > confidence_in_images(probabilities)
        strong = exchange_boxes(exchange, is_unsure, strong, labeled)
        label = exchange_boxes(exchange, is_unsure, label, labels)
        sure = torch.ones_like(labels, dtype=confidence.dtype)
        confidence = exchange_boxes(exchange, is_unsure, confidence, sure)

    if labeled_forward == "strong":
        on_labeled, (_, logits) = forward_together(student, labeled, strong)
    else:
        on_labeled, (_, logits) = forward(student, labeled), forward(student, strong)
    pixels = F.cross_entropy(logits, label, ignore_index=255, reduction="none")
    divisor = (label != 255).sum().clamp(min=1) if ignore_padding else label.numel()
    loss = (pixels * (confidence >= threshold)).sum() / divisor
    return {
        "sup": supervised_loss(student, *on_labeled, labels),
        "unsup.loss_strong": unsup_weight * loss,
    }
