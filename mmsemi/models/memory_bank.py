# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Features and labels of the last steps of all processes, for losses that contrast pixels.

Decisions:

- It is no module: what it holds is no weight, so it lies beside the optimiser's state in the
  checkpoint (:class:`~mmsemi.engine.hooks.MemoryBankHook`) and not in the model's state dict.
- Every process holds the same rows, gathered once, so the checkpoint of the main process is enough.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from mmengine.dist import all_gather, get_world_size
from torch import Tensor

from ..errors import CheckpointError


class MemoryBank:
    """The rows of this step and of the last ones.

    Args:
        num_steps: Steps before the present one whose rows are kept.
    """

    def __init__(self, num_steps: int) -> None:
        self.steps: deque[tuple[Tensor, Tensor]] = deque(maxlen=num_steps)

    def extend(self, rows_RD: Tensor, labels_R: Tensor) -> tuple[Tensor, Tensor]:
        """Gather the rows of all processes, keep them, and return all that is held, without gradient.

        Args:
            rows_RD: Features of this process, as many on each.
            labels_R: Their labels, int64.
        """
        step = tuple(torch.cat(all_gather(x.detach().contiguous())) for x in (rows_RD, labels_R))
        held = [*self.steps, step]
        self.steps.append(step)
        rows, labels = zip(*held)
        return torch.cat(rows), torch.cat(labels)

    def state_dict(self) -> dict[str, Any]:
        """What is held, on the CPU, and by how many processes it was made."""
        steps = [[rows.cpu(), labels.cpu()] for rows, labels in self.steps]
        return dict(world_size=get_world_size(), steps=steps)

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on with the rows of a checkpoint.

        Args:
            state: From :meth:`state_dict`.
            device: Where the features of the next step are.

        Raises:
            CheckpointError: They were made by another number of processes.
        """
        if state["world_size"] != get_world_size():
            raise CheckpointError(
                f"the memory bank of the checkpoint was made by {state['world_size']} processes, "
                f"these are {get_world_size()}"
            )
        self.steps.clear()
        self.steps.extend((rows.to(device), labels.to(device)) for rows, labels in state["steps"])
