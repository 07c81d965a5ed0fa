# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CAC: one pixel in two contexts, the less confident feature is pulled to the more confident one.

Lai, Tian, Jiang, Liu, Zhao, Wang, Jia, *Semi-supervised Semantic Segmentation with Directional
Context-aware Consistency*, CVPR 2021, arXiv 2106.14133; checked against
dvlab-research/Context-Aware-Consistency, models/model.py, trainer.py and utils/losses.py, commit
4fdec7a.

The decode head has ``_forward_feature``, what its classifier sees before dropout, and ``cls_seg``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import encode, forward, pseudo_labels, supervised_loss


class Crops(NamedTuple):
    """One crop of each of U images.

    Attributes:
        images: (U, 3, H, W), as they lie in the image.
        flips: Which of them the network sees mirrored.
        boxes: (top, bottom, left, right) of the overlap with the other crop, in pixels of features.
        valid: (U, H, W) bool, False on padding.
    """

    images: Tensor
    flips: Sequence[bool]
    boxes: Sequence[tuple[int, int, int, int]]
    valid: Tensor


Bank = list[tuple[Tensor, Tensor]]


def contrast(
    anchor: Tensor,
    target: Tensor,
    own_label: Tensor,
    bank: Tensor,
    bank_label: Tensor,
    temperature: float,
    eps: float = 0.0,
) -> Tensor:
    """-ln of the share that the positive pair has of the sum with all negatives, for each anchor.

    With ``eps`` as the released code, whose maximum is that of the first 8,000 rows, of any label.
    """
    positive = (anchor * target.detach()).sum(1) / temperature
    products = anchor @ bank.detach().T / temperature
    is_negative = (bank_label != own_label[:, None]) & (bank_label != -1)
    if not eps:
        negatives = products.masked_fill(~is_negative, -torch.inf)
        return torch.cat([positive[:, None], negatives], 1).logsumexp(1) - positive
    top = torch.maximum(positive, products[:, :8000].max(1).values).detach()
    own = (positive - top).exp()
    others = ((products - top[:, None]).exp() * is_negative).sum(1)
    return -(own / (own + others + eps) + eps).log()


def one_direction(
    first: Sequence[Tensor], second: Sequence[Tensor], threshold: float, *args
) -> Tensor:
    """Mean over the pixels of which the second view is surer, and sure enough; 0 without one."""
    (anchor, label, confidence), (target, _, other_confidence) = first, second
    selected = (other_confidence > threshold) & (confidence < other_confidence)
    if not selected.any():
        return 0 * anchor.sum()
    return contrast(anchor, target, label, *args)[selected].mean()


def cac_step(
    net: nn.Module,
    projector: nn.Module,
    labeled: Tensor,
    labels: Tensor,
    crops: Sequence[Crops],
    bank: Bank,
    *,
    unsup_weight: float = 0.1,
    temperature: float = 0.1,
    threshold: float = 0.75,
    step_save: int = 1,
    stride: int = 8,
    ignore_padding: bool = False,
    eps: float = 0.0,
) -> dict[str, Tensor]:
    """One iteration behind the first epochs; all pixels of both crops are negatives.

    Args:
        net: In train mode.
        projector: From features of the classifier to those that are compared.
        labeled: Labelled images.
        labels: Their labels, 255 where there is none.
        crops: The first and the second crop of each unlabelled image, each of its own strong view.
        bank: Features and labels of the last steps, which this step goes into.
        unsup_weight: Weight of both losses.
        temperature: tau.
        threshold: gamma.
        step_save: Past steps that stay in the bank.
        stride: Pixels to a pixel of the features.
        ignore_padding: Cells with padding are no negatives.
        eps: 0, or 1e-8 as in the released code.
    """
    supervised = supervised_loss(net, *forward(net, labeled), labels)
    overlaps, rows, row_labels = [], [], []
    for images, flips, boxes, valid in crops:
        mirrored = [image.flip(-1) if flip else image for image, flip in zip(images, flips)]
        features = net.decode_head._forward_feature(encode(net, torch.stack(mirrored)))
        features = F.avg_pool2d(features, features.shape[-1] * stride // images.shape[-1])
        confidences, classes = pseudo_labels(net.decode_head.cls_seg(features.detach()))
        projected = F.normalize(projector(features), dim=1)
        parts = []
        for feature, label, confidence, flip, box, ok in zip(
            projected, classes, confidences, flips, boxes, valid
        ):
            maps = [feature, label[None], confidence[None]]
            maps = [one.flip(-1) if flip else one for one in maps]
            top, bottom, left, right = box
            parts.append([one[:, top:bottom, left:right].flatten(1).T for one in maps])
            rows.append(maps[0].flatten(1).T.detach())
            cells = F.avg_pool2d(ok[None].to(feature), stride).flatten() == 1
            row_labels.append(torch.where(cells | (not ignore_padding), maps[1].flatten(), -1))
        feature, label, confidence = (torch.cat(part) for part in zip(*parts))
        overlaps.append((feature, label[:, 0], confidence[:, 0]))

    bank.append((torch.cat(rows), torch.cat(row_labels)))
    del bank[: -(step_save + 1)]
    negatives = [torch.cat(part) for part in zip(*bank)]
    settings = (threshold, *negatives, temperature, eps)
    return {
        "sup": supervised,
        "unsup.loss_dc1": unsup_weight * one_direction(*overlaps, *settings),
        "unsup.loss_dc2": unsup_weight * one_direction(*overlaps[::-1], *settings),
    }
