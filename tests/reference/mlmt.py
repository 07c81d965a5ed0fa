# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""MLMT: a classifier of several labels an image, trained as a mean teacher.

Mittal, Tatarchenko, Brox, *Semi-Supervised Semantic Segmentation with High- and Low-Level
Consistency*, TPAMI 2021, arXiv 1908.05724, section 3. Checked against sud0301/semisup-semseg,
train_mlmt.py, commit 586609b.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlmt_step(
    student: nn.Module,
    teacher: nn.Module,
    labeled: Tensor,
    targets: Tensor,
    weak: Tensor | None,
    strong: Tensor | None,
    *,
    consistency_weight: float,
) -> dict[str, Tensor]:
    """One iteration; the teacher's weights are averaged after the optimiser's step.

    Args:
        student: Images -> one logit a class (N, C); in train mode.
        teacher: The same, in train mode as released.
        labeled: Labelled images.
        targets: (N, C), 1 for the classes that an image shows, else 0; an image without a class is
            one of which nothing is known.
        weak: Unlabelled images as the teacher sees them; None trains on labels alone.
        strong: The same as the student sees them.
        consistency_weight: 0 up to epoch 10, then 2/100 more in each, 1 at the most.
    """
    losses_NC = F.binary_cross_entropy_with_logits(student(labeled), targets, reduction="none")
    known_N = targets.any(1)
    losses = {"sup.loss_cls": (losses_NC.mean(1) * known_N).sum() / known_N.sum().clamp(min=1)}
    if teacher.training:  # it sees the labelled images, for its batch-norm statistics only
        with torch.no_grad():
            teacher(labeled)
    if weak is not None:
        with torch.no_grad():
            target = teacher(weak)
        distance_N = 1 - F.cosine_similarity(student(strong), target)
        losses["unsup.loss_consistency"] = consistency_weight * distance_N.mean()
    return losses
