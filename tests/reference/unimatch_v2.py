# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""UniMatch V2: an averaged teacher, two strong views, and channels that either view has.

Yang, Zhao, Zhao, *UniMatch V2: Pushing the Limit of Semi-Supervised Semantic Segmentation*, TPAMI 2025,
arXiv 2410.10777. Checked against LiheYoung/UniMatch-V2, unimatch_v2.py and model/semseg/dpt.py, commit
f6afb4d.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import Recipe, decode, encode, forward, mix, predict, pseudo_labels, supervised_loss
from .fixmatch import strong_loss


def unimatch_v2_step(
    student: nn.Module,
    teacher: nn.Module,
    labeled: Tensor,
    labels: Tensor,
    weak: Tensor,
    strong: list[Tensor],
    recipes: list[Recipe] | list[None],
    valid: Tensor,
    channel_factors: list[Tensor] | None,
    *,
    threshold: float = 0.95,
    sup_weight: float = 0.5,
    unsup_weight: float = 0.5,
    labeled_forward: str = "alone",
) -> dict[str, Tensor]:
    """One iteration; the teacher is averaged after the optimiser's step, its buffers too.

    Args:
        student: In train mode.
        teacher: In eval mode.
        labeled: Labelled images.
        labels: Their labels.
        weak: Unlabelled images.
        strong: Two strong views of them.
        recipes: How each of them is mixed, in the paper with the batch in reverse.
        valid: Where ``weak`` is no padding.
        channel_factors: For each feature layer 0, 1 or 2 for each channel of the first views and then
            of the second ones, broadcastable; those of an image add up to 2. None drops nothing.
        threshold: tau, the least confidence of a label that counts.
        sup_weight: Weight of the supervised loss.
        unsup_weight: Weight of the mean loss of both views.
        labeled_forward: 'alone': the labelled images have a forward of their own, as released;
            'strong': they share that of the strong views.
    """
    base = pseudo_labels(predict(teacher, weak))
    views = torch.cat([mix(recipe, view) for recipe, view in zip(recipes, strong)])
    size_hw, num = labeled.shape[-2:], 0
    if labeled_forward == "alone":
        labeled_feats, on_labeled = forward(student, labeled)
        feats = encode(student, views)
    else:
        num = len(labeled)
        feats = encode(student, torch.cat([labeled, views]))
        labeled_feats = [feat[:num] for feat in feats]
    if channel_factors is not None:
        shared = [feat[num:] * factor for feat, factor in zip(feats, channel_factors)]
        feats = [
            torch.cat([feat[:num], other]) if num else other for feat, other in zip(feats, shared)
        ]
    logits = decode(student, feats, size_hw)
    if num:
        on_labeled = logits[:num]
    loss = strong_loss(logits[num:], recipes, base, None, valid, threshold)
    return {
        "sup": sup_weight * supervised_loss(student, labeled_feats, on_labeled, labels),
        "unsup.loss_strong": unsup_weight * loss,
    }
