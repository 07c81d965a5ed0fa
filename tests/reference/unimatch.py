# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""UniMatch: FixMatch with two strong views and a view with perturbed features.

Yang, Qi, Feng, Zhang, Shi, *Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic
Segmentation*, CVPR 2023, arXiv 2208.09910, section 3. Checked against
LiheYoung/UniMatch, unimatch.py, commit 0324f3d.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import Outputs, Recipe, decode, encode, forward, mix, pseudo_labels, supervised_loss
from .fixmatch import Labels, confident_loss, labels_of_pasted, num_base_images, strong_loss


def unimatch_outputs(
    student: nn.Module,
    labeled: Tensor,
    weak: Tensor,
    strong: list[Tensor],
    recipes: list[Recipe],
    channel_factors: list[Tensor],
    labeled_forward: str,
    joint_decoder: bool,
    pasted_mode: str,
) -> tuple[Outputs, Tensor, Tensor, Labels, Labels | None]:
    """Outputs of the labelled images, logits of the strong views and of the perturbed features, labels.

    The arguments are those of :func:`unimatch_step`.
    """
    num, size_hw = num_base_images(recipes, weak), labeled.shape[-2:]
    pasted = None
    if recipes[0] is not None:
        pasted = labels_of_pasted(student, weak, num, pasted_mode)

    shared, images = len(labeled), torch.cat([labeled, weak[:num]])
    if labeled_forward == "alone":
        labeled_feats, on_labeled = forward(student, labeled)
        shared, images = 0, weak[:num]
    feats = encode(student, images)
    if joint_decoder:
        dropped = [feat * factor for feat, factor in zip(feats, channel_factors)]
        both = [torch.cat(pair) for pair in zip(feats, dropped)]
        logits = decode(student, both, size_hw)
        on_weak, on_dropped = logits[shared : len(images)], logits[-num:]
    else:
        dropped = [feat[shared:] * factor for feat, factor in zip(feats, channel_factors)]
        both = [torch.cat([feat[:shared], other]) for feat, other in zip(feats, dropped)]
        logits = decode(student, both, size_hw)
        on_dropped = logits[shared:]
        with torch.no_grad():
            on_weak = decode(student, [feat[shared:] for feat in feats], size_hw)
    if labeled_forward == "weak":
        labeled_feats, on_labeled = [feat[:shared] for feat in feats], logits[:shared]
    base = pseudo_labels(on_weak)

    views = torch.cat([mix(recipe, view) for recipe, view in zip(recipes, strong)])
    on_views = forward(student, views)[1]
    return (labeled_feats, on_labeled), on_views, on_dropped, base, pasted


def unimatch_step(
    student: nn.Module,
    labeled: Tensor,
    labels: Tensor,
    weak: Tensor,
    strong: list[Tensor],
    recipes: list[Recipe],
    valid: Tensor,
    channel_factors: list[Tensor],
    *,
    threshold: float = 0.95,
    sup_weight: float = 0.5,
    unsup_weight: float = 0.5,
    feature_weight: float = 0.5,
    labeled_forward: str = "weak",
    joint_decoder: bool = False,
    pasted_mode: str = "eval",
) -> dict[str, Tensor]:
    """One iteration.

    Args:
        student: In train mode.
        labeled: Labelled images.
        labels: Their labels.
        weak: Unlabelled images, those that are only pasted behind the others.
        strong: Their strong views, two in the paper.
        recipes: How each of them is mixed.
        valid: Where ``weak`` is no padding.
        channel_factors: For each feature map (N, C, 1, 1): 0 for channels that are dropped,
            1/(1 - p) for the others. N are the images whose features are perturbed: the weak ones,
            with ``joint_decoder`` also those that share the encoder with them, in front.
        threshold: tau, the least confidence of a label that counts.
        sup_weight: Weight of the supervised loss.
        unsup_weight: Weight of the unsupervised loss.
        feature_weight: Share of the perturbed features in it; the strong views share the rest.
        labeled_forward: 'weak': the labelled images share encoder and decoder with the weak views,
            as released; 'alone': they do not.
        joint_decoder: Whether labelled, weak and the perturbed features of both are decoded
            together, as released. It changes the decoder's batch statistics only.
        pasted_mode: See :func:`~reference.fixmatch.labels_of_pasted`.
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
    loss = strong_loss(on_views, recipes, base, pasted, valid, threshold)
    feature_loss = confident_loss(on_dropped, *base, valid[: len(on_dropped)], threshold)
    return {
        "sup": sup_weight * supervised_loss(student, *on_labeled, labels),
        "unsup.loss_strong": unsup_weight * (1 - feature_weight) * loss,
        "unsup.loss_feature": unsup_weight * feature_weight * feature_loss,
    }
