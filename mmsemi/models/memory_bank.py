# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Features of the last steps of all processes, for losses that contrast pixels.

:class:`MemoryBank` holds whole steps with their labels, :class:`ClassMemoryBank` the newest rows of each
class.

Decisions:

- They are no modules: what they hold is no weight, so it lies beside the optimiser's state in the
  checkpoint (:class:`~mmsemi.engine.hooks.MemoryBankHook`) and not in the model's state dict.
- Every process holds the same rows, gathered once, so the checkpoint of the main process is enough.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, get_world_size
from torch import BoolTensor, LongTensor, Tensor

from ..errors import CheckpointError


def _check_world_size(state: dict[str, Any]) -> None:
    if state["world_size"] != get_world_size():
        raise CheckpointError(
            f"the memory bank of the checkpoint was made by {state['world_size']} processes, "
            f"these are {get_world_size()}"
        )


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
        _check_world_size(state)
        self.steps.clear()
        self.steps.extend((rows.to(device), labels.to(device)) for rows, labels in state["steps"])


class ClassMemoryBank:
    """A ring of unit vectors for each class: the newest rows that were pushed, of all processes.

    All rings lie in one tensor, and are written and drawn from without a wait for the device.

    Args:
        sizes: Rows of each class, at most.
        dtype: Of the rows.
    """

    def __init__(self, sizes: Sequence[int], dtype: torch.dtype = torch.float16) -> None:
        self.sizes, self.dtype = list(sizes), dtype
        self._rows_RD: Tensor | None = None  # made with the first push, when channels are known
        self._size_C = torch.tensor(self.sizes)
        self._offset_C = self._size_C.cumsum(0) - self._size_C
        self._next_C, self.count_C = torch.zeros_like(self._size_C), torch.zeros_like(self._size_C)

    def _to(self, device: torch.device, channels: int) -> None:
        if self._rows_RD is None:
            # One row more, for what is not to be kept.
            self._rows_RD = torch.zeros(sum(self.sizes) + 1, channels, dtype=self.dtype)
        if self._rows_RD.device != device:
            for name in ("_rows_RD", "_size_C", "_offset_C", "_next_C", "count_C"):
                setattr(self, name, getattr(self, name).to(device))

    def push(self, rows_CKD: Tensor, valid_CK: BoolTensor) -> None:
        """Append the rows of all processes, in their order; of a class only the newest stay.

        Args:
            rows_CKD: Features, as many of each class and on each process; normalised here.
            valid_CK: Which of them are rows at all.
        """
        rows_CKD = F.normalize(rows_CKD.detach().float(), dim=-1).to(self.dtype)
        self._to(rows_CKD.device, rows_CKD.shape[-1])
        rows_CKD = torch.cat(all_gather(rows_CKD.contiguous()), 1)
        valid_CK = torch.cat(all_gather(valid_CK.byte().contiguous()), 1)
        number_CK, new_C = valid_CK.cumsum(1) - 1, valid_CK.sum(1)
        size_C1, next_C1 = self._size_C[:, None], self._next_C[:, None]
        # Rows that later ones of this push would overwrite are not written either.
        is_kept_CK = (valid_CK > 0) & (number_CK >= new_C[:, None] - size_C1)
        place_CK = self._offset_C[:, None] + (next_C1 + number_CK) % size_C1
        place_CK = torch.where(is_kept_CK, place_CK, len(self._rows_RD) - 1)
        self._rows_RD.index_copy_(0, place_CK.flatten(), rows_CKD.flatten(0, 1))
        self._next_C = (self._next_C + new_C) % self._size_C
        self.count_C = torch.minimum(self.count_C + new_C, self._size_C)

    def draw(self, number_CX: LongTensor, class_C: LongTensor | None = None) -> Tensor:
        """Rows by their number.

        Args:
            number_CX: For each class, any shape behind it; below ``count_C`` of the class.
            class_C: The class that each of these draws from; its own.

        Returns:
            (C, X, D); of an empty class what once was there, or zeros.
        """
        offset_C = self._offset_C if class_C is None else self._offset_C[class_C]
        place_CX = number_CX + offset_C.view(-1, *[1] * (number_CX.ndim - 1))
        return self._rows_RD.index_select(0, place_CX.flatten()).view(*place_CX.shape, -1)

    @property
    def filled(self) -> Tensor:
        """Share of all rows that are held, 0-d."""
        return self.count_C.sum() / sum(self.sizes)

    def state_dict(self) -> dict[str, Any]:
        """What is held, on the CPU, and by how many processes it was made."""
        rows = None if self._rows_RD is None else self._rows_RD[:-1].cpu()
        places = dict(next=self._next_C.cpu(), count=self.count_C.cpu())
        return dict(world_size=get_world_size(), sizes=self.sizes, rows=rows, **places)

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on with the rows of a checkpoint.

        Args:
            state: From :meth:`state_dict`.
            device: Where the features of the next step are.

        Raises:
            CheckpointError: They were made by another number of processes, or for other sizes.
        """
        _check_world_size(state)
        if state["sizes"] != self.sizes:
            raise CheckpointError(
                f"the memory bank of the checkpoint has {_sizes(state['sizes'])} rows, this one "
                f"{_sizes(self.sizes)}"
            )
        if state["rows"] is None:
            return
        rows_RD = state["rows"].to(self.dtype)
        self._rows_RD = torch.cat([rows_RD, torch.zeros_like(rows_RD[:1])])
        self._next_C, self.count_C = state["next"].clone(), state["count"].clone()
        self._to(device, rows_RD.shape[1])


def _sizes(sizes: Sequence[int]) -> str:
    return " + ".join(map(str, sizes[:4])) + (f" + ... ({len(sizes)} classes)" * (len(sizes) > 4))
