# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""PrevMatch: the views of UniMatch, or of FixMatch, against labels of earlier networks, too.

Shin, Park, Kim, Yun, Park, Han, *Revisiting and Maximizing Temporal Knowledge in Semi-supervised
Semantic Segmentation*, WACV 2026, arXiv 2405.20610. Checked against wooseok-shin/PrevMatch,
prevmatch.py, util/prev_utils.py and util/train_utils.py, commit bcfac70, which has the first form only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Recipe, mix, predict, pseudo_labels, supervised_loss
from .fixmatch import Labels, confident_loss, fixmatch_outputs, strong_loss
from .unimatch import unimatch_outputs

Losses = dict[str, Tensor]
Previous = Sequence[tuple[float, nn.Module]]
# Name, weight in the unsupervised loss, logits and recipes of views.
Views = list[tuple[str, float, Tensor, list[Recipe] | list[None]]]


def guidance(previous: Previous, weak: Tensor) -> Labels:
    """Confidence and label of the weighted sum of the logits of earlier networks, in eval mode."""
    return pseudo_labels(sum(weight * predict(net, weak) for weight, net in previous))


def image_mean_loss(logits: Tensor, guide: Labels, valid: Tensor, released: bool) -> Tensor:
    """Each image's pixels weighted by its mean confidence; no threshold.

    Args:
        logits: Of one view.
        guide: Confidence and label of it.
        valid: Where it is no padding.
        released: The code's form: the sum over all pixels, ignored ones too, times the sum over four
            images, as many as a GPU had, of the confidences.
    """
    confidence, label = guide
    pixels = F.cross_entropy(logits, label, reduction="none")
    means = [c[v].mean() if v.any() else c.new_zeros(()) for c, v in zip(confidence, valid)]
    if released:
        loss = pixels.sum() * torch.stack(means).mean() * 4
    else:
        loss = sum(mean * one[v].sum() for mean, one, v in zip(means, pixels, valid))
    return loss / valid.sum().clamp(min=1)


def add_guidance(
    losses: Losses,
    views: Views,
    previous: Previous,
    weak: Tensor,
    valid: Tensor,
    weight: float,
    previous_threshold: float,
    previous_loss: str,
) -> Losses:
    """The losses of an iteration with those against earlier networks' labels.

    Args:
        losses: Of the base method.
        views: What it has compared with its own labels.
        previous: Weight and network of those that are drawn; none at first.
        weak: Unlabelled images.
        valid: Where they are no padding.
        weight: lambda of the iteration.
        previous_threshold: Least confidence of their label that counts.
        previous_loss: 'pixel', 'image_mean' or 'image_mean_released'.
    """
    if not previous:
        return losses
    guide = guidance(previous, weak)
    losses = dict(losses)
    for name, share, logits, recipes in views:
        found = []
        for recipe, on_view in zip(recipes, logits.chunk(len(recipes))):
            num = len(on_view)
            mixed = [x[:num] if recipe is None else mix(recipe, x) for x in (*guide, valid)]
            if previous_loss == "pixel":
                found.append(confident_loss(on_view, *mixed, previous_threshold))
            else:
                released = previous_loss == "image_mean_released"
                found.append(image_mean_loss(on_view, mixed[:2], mixed[2], released))
        losses[f"prev.loss_{name}"] = weight * share * torch.stack(found).mean()
    return {key: value * 2 / (2 + weight) for key, value in losses.items()}


def prevmatch_step(
    student: nn.Module,
    labeled: Tensor,
    labels: Tensor,
    weak: Tensor,
    strong: list[Tensor],
    recipes: list[Recipe],
    valid: Tensor,
    channel_factors: list[Tensor],
    previous: Previous,
    weight: float,
    *,
    threshold: float = 0.95,
    sup_weight: float = 0.5,
    unsup_weight: float = 0.5,
    feature_weight: float = 0.5,
    labeled_forward: str = "weak",
    joint_decoder: bool = False,
    pasted_mode: str = "eval",
    previous_threshold: float = 0.9,
    previous_loss: str = "pixel",
) -> Losses:
    """One iteration on UniMatch, whose arguments are those of
    :func:`~reference.unimatch.unimatch_step`; the others those of :func:`add_guidance`.
    """
    on_labeled, on_views, on_dropped, base, pasted = unimatch_outputs(
        student,
        labeled,
        weak,
        strong,
        recipes,
        channel_factors,
        labeled_forward,
        joint_decoder,
        pasted_mode,
    )
    shares = unsup_weight * (1 - feature_weight), unsup_weight * feature_weight
    own = [
        strong_loss(on_views, recipes, base, pasted, valid, threshold),
        confident_loss(on_dropped, *base, valid[: len(on_dropped)], threshold),
    ]
    losses = {
        "sup": sup_weight * supervised_loss(student, *on_labeled, labels),
        "unsup.loss_strong": shares[0] * own[0],
        "unsup.loss_feature": shares[1] * own[1],
    }
    views = [("strong", shares[0], on_views, recipes), ("feature", shares[1], on_dropped, [None])]
    return add_guidance(
        losses, views, previous, weak, valid, weight, previous_threshold, previous_loss
    )


def prevfixmatch_step(
    student: nn.Module,
    teacher: nn.Module | None,
    labeled: Tensor,
    labels: Tensor,
    weak: Tensor,
    strong: list[Tensor],
    recipes: list[Recipe] | list[None],
    valid: Tensor,
    previous: Previous,
    weight: float,
    *,
    threshold: float = 0.95,
    sup_weight: float = 0.5,
    unsup_weight: float = 0.5,
    labeled_forward: str = "alone",
    pasted_mode: str = "eval",
    previous_threshold: float = 0.9,
    previous_loss: str = "pixel",
) -> Losses:
    """One iteration on FixMatch, whose arguments are those of
    :func:`~reference.fixmatch.fixmatch_step`; the others those of :func:`add_guidance`.
    """
    on_labeled, on_views, base, pasted = fixmatch_outputs(
        student, teacher, labeled, weak, strong, recipes, labeled_forward, pasted_mode
    )
    loss = strong_loss(on_views, recipes, base, pasted, valid, threshold)
    losses = {
        "sup": sup_weight * supervised_loss(student, *on_labeled, labels),
        "unsup.loss_strong": unsup_weight * loss,
    }
    views = [("strong", unsup_weight, on_views, recipes)]
    return add_guidance(
        losses, views, previous, weak, valid, weight, previous_threshold, previous_loss
    )
