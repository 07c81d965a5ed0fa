# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The baseline: the labelled images alone."""

from __future__ import annotations

from torch import Tensor, nn

from .blocks import forward, supervised_loss


def supervised_step(student: nn.Module, labeled: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """One forward and the losses of all heads."""
    feats, logits = forward(student, labeled)
    return {"sup": supervised_loss(student, feats, logits, labels)}
