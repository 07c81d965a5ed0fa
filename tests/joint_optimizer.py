# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What tests of methods with a discriminator share: its optimiser, and what each loss trains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: What such a method adds to ``optim_wrapper``.
JOINT = dict(
    constructor="JointOptimWrapperConstructor",
    discriminator=dict(optimizer=dict(type="Adam", lr=1e-3, betas=(0.9, 0.99))),
)


def assert_each_loss_trains_one_network(model: nn.Module, losses: dict[str, Tensor]) -> None:
    """``disc.loss`` the discriminator, the others the student."""
    student, net = (list(part.parameters()) for part in (model.student, model.discriminator))
    for key in (key for key in losses if "loss" in key):
        found = [
            torch.autograd.grad(losses[key], part, retain_graph=True, allow_unused=True)
            for part in (student, net)
        ]
        reached = [any(g is not None and bool(g.any()) for g in part) for part in found]
        assert reached == [key != "disc.loss", key == "disc.loss"], key
