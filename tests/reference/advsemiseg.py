# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""AdvSemiSeg: a discriminator as a loss, and as the one who trusts pseudo-labels.

Hung, Tsai, Liou, Lin, Yang, *Adversarial Learning for Semi-Supervised Semantic Segmentation*, BMVC
2018, arXiv 1802.07934, section 3. Checked against hfslyc/AdvSemiSeg, train.py, commit 841d546,
where padding of unlabelled images counts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import cross_entropy, forward, hard_labels, supervised_loss


def adversarial_loss(logits: Tensor, is_real: bool, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of a discriminator's logits with one target, mean of what is valid."""
    losses = F.softplus(-logits if is_real else logits)
    return losses.mean() if valid is None else (losses * valid).sum() / valid.sum().clamp(min=1)


def one_hot_maps(labels: Tensor, num_classes: int, ignore_index: int, dtype: torch.dtype) -> Tensor:
    """What a discriminator sees of a ground truth (N, C, H, W): all zero where it is ignored."""
    valid = (labels != ignore_index)[:, None]
    maps = torch.zeros(
        len(labels), num_classes, *labels.shape[1:], dtype=dtype, device=labels.device
    )
    return maps.scatter_(1, labels[:, None] * valid, valid.to(dtype))


def advsemiseg_step(
    student: nn.Module,
    discriminator: nn.Module,
    labeled: Tensor,
    labels: Tensor,
    unlabeled: Tensor | None,
    valid: Tensor | None,
    real_labels: Tensor,
    *,
    adv_weight: float = 0.01,
    unsup_adv_weight: float = 0.001,
    unsup_weight: float = 0.1,
    threshold: float = 0.2,
    judge_unlabeled: bool = True,
    ignore_padding: bool = True,
) -> dict[str, Tensor]:
    """One iteration of both networks: the sum's gradient is that of alternating updates.

    Args:
        student: In train mode.
        discriminator: Class maps (N, C, H, W) -> logits of "ground truth" on a coarse grid.
        labeled: Labelled images.
        labels: Their labels.
        unlabeled: Unlabelled images; None trains the paper's purely adversarial mode.
        valid: Where they are no padding.
        real_labels: Ground truth that the discriminator sees, of a loader of its own as released.
        adv_weight: Adversarial loss on labelled images.
        unsup_adv_weight: The same on unlabelled images.
        unsup_weight: Cross-entropy to the trusted labels; as released 0 before iteration 5000.
        threshold: Least probability of "ground truth" that makes a pixel's label trusted.
        judge_unlabeled: Whether the discriminator also learns from maps of unlabelled images.
        ignore_padding: Whether padding counts nowhere.
    """
    ignore_index = student.decode_head.ignore_index

    def judge(maps: Tensor) -> Tensor:
        grid = discriminator(maps)
        return F.interpolate(grid, maps.shape[-2:], mode="bilinear", align_corners=True)[:, 0]

    losses, fakes, counted = {}, [], []
    discriminator.requires_grad_(False)
    if unlabeled is not None:
        logits = forward(student, unlabeled)[1]
        maps = logits.softmax(1)
        judged = judge(maps)
        if not ignore_padding:
            valid = torch.ones_like(valid)
        trusted = valid & (judged.detach().sigmoid() >= threshold)
        target = torch.where(trusted, hard_labels(logits), ignore_index)
        losses["adv.loss_unlabeled"] = unsup_adv_weight * adversarial_loss(judged, True, valid)
        losses["unsup.loss_trusted"] = unsup_weight * cross_entropy(logits, target, ignore_index)
        if judge_unlabeled:
            fakes, counted = [maps.detach()], [valid]
    feats, logits = forward(student, labeled)
    maps, known = logits.softmax(1), labels != ignore_index
    losses["sup"] = supervised_loss(student, feats, logits, labels)
    losses["adv.loss_labeled"] = adv_weight * adversarial_loss(judge(maps), True, known)

    discriminator.requires_grad_(True)
    on_fakes = judge(torch.cat([*fakes, maps.detach()]))
    on_reals = judge(one_hot_maps(real_labels, logits.shape[1], ignore_index, logits.dtype))
    fake_loss = adversarial_loss(on_fakes, False, torch.cat([*counted, known]))
    real_loss = adversarial_loss(on_reals, True, real_labels != ignore_index)
    losses["disc.loss"] = (fake_loss + real_loss) / 2
    return losses
