# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One step of a self-training round, from the papers.

Checked against voldemortX/DST-CBC: utils/losses.py of branch ``dst-cbc`` (fd99bc1) for DST-CBC,
segmentation/utils/losses.py (c31b09e) for DMT; and LiheYoung/ST-PlusPlus (f4e7a57) main.py for ST.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import _resize, forward


def self_training_step(
    student: nn.Module,
    labeled: Tensor,
    labels: Tensor,
    pseudo: Tensor,
    pseudo_labels: Tensor,
    confidence: Tensor | None,
    weight: dict | None = None,
) -> dict[str, Tensor]:
    """The loss of a batch.

    Args:
        student: In train mode; its heads have a mean cross-entropy each.
        labeled: Images with true labels.
        labels: (N, H, W), 255 ignored.
        pseudo: The student's views.
        pseudo_labels: Their stored labels.
        confidence: That of the network that gave the labels, for the weights that need one.
        weight: Name ``type`` and powers; None is ST.
    """
    target = torch.cat([labels, pseudo_labels])
    valid = target != 255
    feats, logits = forward(student, torch.cat([labeled, pseudo]))
    log_p = logits[len(labeled) :].detach().log_softmax(1)
    p = log_p.gather(1, (pseudo_labels * (pseudo_labels != 255))[:, None])[:, 0].exp()
    kind = None if weight is None else weight["type"]
    of_pseudo = torch.ones_like(p)
    if kind == "DynamicWeight":
        of_pseudo = p ** weight["gamma"]
    if kind == "StoredWeight":
        of_pseudo = confidence ** weight["gamma"]
    if kind == "MutualWeight":
        most, likeliest = log_p.exp().max(1)
        of_pseudo = torch.where(
            likeliest == pseudo_labels,
            p ** weight["gamma1"],
            torch.where(most > confidence, torch.zeros_like(p), p ** weight["gamma2"]),
        )
    weights = torch.cat([p.new_ones(labels.shape), of_pseudo])

    def loss(head: nn.Module, logits: Tensor) -> Tensor:
        pixels = F.cross_entropy(logits, target, ignore_index=255, reduction="none")
        return head.loss_decode.loss_weight * (pixels * weights).sum() / valid.sum()

    total = loss(student.decode_head, logits)
    auxiliary = getattr(student, "auxiliary_head", None)
    if auxiliary is not None:
        total = total + loss(auxiliary, _resize(auxiliary, auxiliary(feats), labels.shape[-2:]))
    return {"loss": total}
