# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""FixMatch for segmentation: confident labels of the weak view supervise strong, mixed views.

Sohn et al., *FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence*,
NeurIPS 2020, arXiv 2001.07685, algorithm 1, in the two forms of Yang et al. for segmentation:

- labels from the student itself: *Revisiting Weak-to-Strong Consistency*, CVPR 2023, arXiv
  2208.09910, section 3; checked against LiheYoung/UniMatch, fixmatch.py, commit 0324f3d;
- labels from an averaged teacher: *UniMatch V2*, TPAMI 2025, arXiv 2410.10777; checked against
  LiheYoung/UniMatch-V2, fixmatch.py, commit f6afb4d.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import (
    Outputs,
    Recipe,
    forward,
    forward_together,
    mix,
    predict,
    pseudo_labels,
    supervised_loss,
)

Labels = tuple[Tensor, Tensor]


def num_base_images(recipes: list[Recipe] | list[None], weak: Tensor) -> int:
    """How many images the views start from; the unlabelled ones behind them are only pasted."""
    return len(weak) if recipes[0] is None else len(recipes[0].first)


def labels_of_pasted(
    student: nn.Module, weak: Tensor, num_base: int, pasted_mode: str
) -> Labels | None:
    """The student's labels of the images that are pasted, or None where one forward labels all.

    As released the student is in eval mode here, because the pasted images are of another batch.
    """
    only_pasted = weak if num_base == len(weak) else weak[num_base:]
    if pasted_mode == "eval":
        student.eval()
        labels = pseudo_labels(predict(student, only_pasted))
        student.train()
        return labels
    return None if only_pasted is weak else pseudo_labels(predict(student, only_pasted))


def confident_loss(
    logits: Tensor,
    confidence: Tensor,
    label: Tensor,
    valid: Tensor,
    threshold: float,
    unsure_pixels: str = "dropped",
) -> Tensor:
    """Sum over the confident valid pixels, divided by the number of all valid pixels.

    With ``unsure_pixels='weighted'``, as in ClassMix, the mean over all valid ones, times the share of confident
    ones.
    """
    pixels = F.cross_entropy(logits, label, reduction="none")
    if unsure_pixels == "weighted":
        return pixels[valid].mean() * (confidence[valid] >= threshold).float().mean()
    return (pixels * (valid & (confidence >= threshold))).sum() / valid.sum().clamp(min=1)


def strong_loss(
    logits: Tensor,
    recipes: list[Recipe] | list[None],
    base: Labels,
    pasted: Labels | None,
    valid: Tensor,
    threshold: float,
    unsure_pixels: str = "dropped",
) -> Tensor:
    """Mean over the views of each one's loss, whose labels are mixed as its image is.

    Args:
        logits: Of all views, view after view.
        recipes: One for each view.
        base: Confidence and label of the base images, or of all unlabelled images.
        pasted: Those of the pasted images, or None if ``base`` is about all images.
        valid: Of all unlabelled images.
        threshold: Least confidence of a label that counts.
        unsure_pixels: See :func:`confident_loss`.
    """
    if pasted is not None and len(base[0]) < len(valid):
        base = pasted = tuple(torch.cat(pair) for pair in zip(base, pasted))
    pasted = base if pasted is None else pasted
    losses = []
    for recipe, on_view in zip(recipes, logits.chunk(len(recipes))):
        confidence, label = (mix(recipe, *pair) for pair in zip(base, pasted))
        counted = mix(recipe, valid)
        losses.append(confident_loss(on_view, confidence, label, counted, threshold, unsure_pixels))
    return torch.stack(losses).mean()


def fixmatch_outputs(
    student: nn.Module,
    teacher: nn.Module | None,
    labeled: Tensor,
    weak: Tensor,
    strong: list[Tensor],
    recipes: list[Recipe] | list[None],
    labeled_forward: str,
    pasted_mode: str,
) -> tuple[Outputs, Tensor, Labels, Labels | None]:
    """Outputs of the labelled images, logits of the views, and the labels that these are given.

    The arguments are those of :func:`fixmatch_step`.
    """
    num = num_base_images(recipes, weak)
    pasted = None
    if teacher is None and recipes[0] is not None:
        pasted = labels_of_pasted(student, weak, num, pasted_mode)

    if labeled_forward == "alone":
        on_labeled = forward(student, labeled)
    if teacher is not None:
        base = pseudo_labels(predict(teacher, weak))
    elif labeled_forward == "weak":
        on_labeled, on_weak = forward_together(student, labeled, weak[:num])
        base = pseudo_labels(on_weak[1])
    else:
        base = pseudo_labels(predict(student, weak[:num]))

    views = torch.cat([mix(recipe, view) for recipe, view in zip(recipes, strong)])
    if labeled_forward == "strong":
        on_labeled, on_views = forward_together(student, labeled, views)
    else:
        on_views = forward(student, views)
    return on_labeled, on_views[1], base, pasted


def fixmatch_step(
    student: nn.Module,
    teacher: nn.Module | None,
    labeled: Tensor,
    labels: Tensor,
    weak: Tensor,
    strong: list[Tensor],
    recipes: list[Recipe] | list[None],
    valid: Tensor,
    *,
    threshold: float = 0.95,
    sup_weight: float = 0.5,
    unsup_weight: float = 0.5,
    labeled_forward: str = "alone",
    pasted_mode: str = "eval",
    unsure_pixels: str = "dropped",
) -> dict[str, Tensor]:
    """One iteration; a teacher is averaged after the optimiser's step, its buffers too.

    Args:
        student: In train mode.
        teacher: In eval mode; None if the student labels.
        labeled: Labelled images.
        labels: Their labels.
        weak: Unlabelled images, those that are only pasted behind the others.
        strong: Their strong views.
        recipes: How each of them is mixed.
        valid: Where ``weak`` is no padding.
        threshold: tau, the least confidence of a label that counts.
        sup_weight: Weight of the supervised loss.
        unsup_weight: Weight of the unsupervised loss.
        labeled_forward: The view that shares the forward of the labelled images: none ('alone'),
            'weak' (as released where the student labels) or 'strong' (where a teacher does).
        pasted_mode: See :func:`labels_of_pasted`; a teacher labels all images in one forward.
        unsure_pixels: See :func:`confident_loss`.
    """
    on_labeled, on_views, base, pasted = fixmatch_outputs(
        student, teacher, labeled, weak, strong, recipes, labeled_forward, pasted_mode
    )
    loss = strong_loss(on_views, recipes, base, pasted, valid, threshold, unsure_pixels)
    return {
        "sup": sup_weight * supervised_loss(student, *on_labeled, labels),
        "unsup.loss_strong": unsup_weight * loss,
    }
