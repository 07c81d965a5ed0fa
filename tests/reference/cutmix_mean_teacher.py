# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CutMix mean teacher (CutMix-Seg).

French, Laine, Aila, Mackiewicz, Finlayson, *Semi-supervised semantic segmentation needs strong,
varied perturbations*, BMVC 2020, arXiv 1906.01916, section 3: the student's prediction on two mixed
images is to be the mix of the teacher's on each. Checked against Britefury/cutmix-semisup-seg,
train_seg_semisup_mask_mt.py, commit af6183a.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import Recipe, forward, mix, predict, split_streams, supervised_loss


def cutmix_mean_teacher_step(
    student: nn.Module,
    teacher: nn.Module,
    labeled: Tensor,
    labels: Tensor,
    weak: Tensor,
    strong: Tensor,
    recipe: Recipe,
    valid: Tensor,
    *,
    unsup_weight: float = 1.0,
    confidence_threshold: float = 0.97,
    confidence_mode: str = "mean",
    ignore_padding: bool = True,
) -> dict[str, Tensor]:
    """One iteration; the teacher is averaged after the optimiser's step, its buffers too.

    With another distance, or on labelled images too:
    :func:`~reference.mean_teacher.mean_teacher_step`, which mixes as well.

    Args:
        student: In train mode.
        teacher: In train mode.
        labeled: Labelled images.
        labels: Their labels.
        weak: Unlabelled images u0 and u1, as the teacher sees them.
        strong: The same as the student sees them, perhaps with other colours.
        recipe: One box for each pair.
        valid: Where ``weak`` is no padding.
        unsup_weight: Weight of the consistency.
        confidence_threshold: Probability from which a pixel of the teacher is confident.
        confidence_mode: 'mean': the loss is scaled by the share of confident pixels of the batch;
            'pixel': the others do not count.
        ignore_padding: Whether padding does not count.
    """
    feats, logits = forward(student, labeled)
    losses = {"sup": supervised_loss(student, feats, logits, labels)}
    unmixed = torch.cat([predict(teacher, stream) for stream in split_streams(recipe, weak)])
    target = mix(recipe, unmixed).softmax(1)
    prediction = forward(student, mix(recipe, strong))[1].softmax(1)

    distance = (prediction - target).square().sum(1)
    if ignore_padding:
        distance = distance * mix(recipe, valid)
    confident = (target.amax(1) >= confidence_threshold).to(distance.dtype)
    distance = distance * (confident if confidence_mode == "pixel" else confident.mean())
    losses["unsup.loss_consistency"] = unsup_weight * distance.mean()  # over all pixels
    return losses
