# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Earlier copies of a network, which label together with random weights (PrevMatch).

Decisions:

- They lie outside the module tree: no ``train()``, gradient synchronisation, average, optimiser or
  weight file ever sees them. Beside the optimiser's state a checkpoint has their list, and each is a
  file of the run (:class:`~mmsemi.engine.hooks.PreviousNetworksHook`).
- Which ones label in a step, and with which weights, is a function of seed and step: equal on all
  processes, so that none waits for another one's larger draw, and nothing to store.
- Their logits are added in float32, under autocast too.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.dist import broadcast
from torch import Tensor, nn

from .forward import forward


def draw_members(seed: int, step: int, held: int, most: int) -> tuple[list[int], list[float]]:
    """Draw which of the networks label in a step, and with which weights.

    Args:
        seed: Of the training.
        step: Training step.
        held: Number of networks.
        most: K; the number of drawn ones is uniform on 1 ... K, and at most ``held``.

    Returns:
        Their numbers, all different, and weights of sum 1 from the flat Dirichlet distribution.
    """
    words = np.random.SeedSequence([seed, step]).generate_state(1 + 2 * most, np.uint64)
    uniform = [int(word >> np.uint64(11)) * 2.0**-53 for word in words]
    count = min(1 + int(most * uniform[0]), held)
    order = list(range(held))
    for i in range(count):  # Fisher and Yates
        j = i + int(uniform[1 + i] * (held - i))
        order[i], order[j] = order[j], order[i]
    shares = -np.log1p(-np.array(uniform[1 + most : 1 + most + count]))
    return order[:count], (shares / shares.sum()).tolist()


@dataclass
class Member:
    """A copy.

    Attributes:
        net: In eval mode, without gradient.
        iteration: Training iteration at whose start it was taken.
        sha256: Of its file, once it has one.
    """

    net: nn.Module
    iteration: int
    sha256: str = ""


class PreviousNetworks:
    """The last copies of a network, the oldest first.

    Args:
        capacity: How many are kept; a further one takes the place of the oldest.
        max_drawn: K, see :func:`draw_members`.

    Attributes:
        members: The copies.
        seed: Of the draws. The hook sets it, as it does the next two.
        length: Iterations of the training; 0 before it starts.
        copy_every: Iterations between copies on a fixed schedule.
    """

    def __init__(self, capacity: int, max_drawn: int) -> None:
        self.capacity = capacity
        self.max_drawn = max_drawn
        self.members: list[Member] = []
        self.seed = self.length = self.copy_every = 0

    def __len__(self) -> int:
        return len(self.members)

    def add(
        self, net: nn.Module, iteration: int, sha256: str = "", keep_backbone: bool = False
    ) -> None:
        """Copy a network, weights and batch-norm statistics; those of the main process count.

        Args:
            net: The network.
            iteration: See :class:`Member`.
            sha256: The same.
            keep_backbone: The copy has the network's own backbone, which never changes.
        """
        kept = {id(net.backbone): net.backbone} if keep_backbone else {}
        own = copy.deepcopy(net, kept).requires_grad_(False).eval()
        for buffer in own.buffers():
            broadcast(buffer)
        self.members.append(Member(own, iteration, sha256))
        del self.members[: -self.capacity]

    @torch.no_grad()
    def logits(self, x_NCHW: Tensor, step: int) -> Tensor:
        """Weighted sum (N, C, H, W), float32, of the logits of those that are drawn in a step."""
        numbers, weights = draw_members(self.seed, step, len(self), self.max_drawn)
        total = None
        for number, weight in zip(numbers, weights):
            logits = weight * forward(self.members[number].net, x_NCHW).logits_NCHW.float()
            total = logits if total is None else total.add_(logits)
        return total
