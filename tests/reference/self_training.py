# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One step of a self-training round, from the papers.

Checked against voldemortX/DST-CBC: utils/losses.py of branch ``dst-cbc`` (fd99bc1) for DST-CBC,
segmentation/utils/losses.py (c31b09e) for DMT; and LiheYoung/ST-PlusPlus (f4e7a57) main.py for ST.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def self_training_step(
    net: nn.Module,
    labeled: Tensor,
    labels: Tensor,
    pseudo: Tensor,
    pseudo_labels: Tensor,
    confidence: Tensor,
    weight: dict | None = None,
) -> dict[str, Tensor]:
    """The loss of a batch.

    Args:
        net: Maps images to logits of their size.
        labeled: Images with true labels.
        labels: (N, H, W), 255 ignored.
        pseudo: The student's views.
        pseudo_labels: Their stored labels.
        confidence: That of the network that gave the labels.
        weight: Name ``type`` and powers; None is ST.
    """
    logits = net(torch.cat([pseudo, labeled]))
    target = torch.cat([pseudo_labels, labels])
    valid = target != 255
    log_p = logits.log_softmax(1)
    own = log_p.gather(1, (target * valid)[:, None])[:, 0]
    w = torch.ones_like(own)
    n = len(pseudo)
    p = own[:n].detach().exp()
    kind = None if weight is None else weight["type"]
    if kind == "DynamicWeight":
        w[:n] = p ** weight["gamma"]
    if kind == "StoredWeight":
        w[:n] = confidence ** weight["gamma"]
    if kind == "MutualWeight":
        most, likeliest = log_p[:n].detach().exp().max(1)
        agree = likeliest == pseudo_labels
        w[:n] = torch.where(
            agree,
            p ** weight["gamma1"],
            torch.where(most > confidence, torch.zeros_like(p), p ** weight["gamma2"]),
        )
    return {"loss": (-own * w * valid).sum() / valid.sum()}
