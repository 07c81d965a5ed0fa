# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Rows of the present step and of the last ones, of all processes."""

from __future__ import annotations

import pytest
import torch

from mmsemi.errors import CheckpointError
from mmsemi.models.memory_bank import MemoryBank


def step(number: int, rows: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((rows, 3), float(number)), torch.full((rows,), number)


@pytest.mark.parametrize(
    ("num_steps", "expected"),
    [
        (0, [[0], [1], [2], [3], [4], [5]]),
        (1, [[0], [0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]),
        (2, [[0], [0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]),
    ],
)
def test_steps_that_are_held(num_steps, expected):
    """docs/methods/cac.md#bank, also where a checkpoint comes between two steps."""
    bank = MemoryBank(num_steps)
    for number, steps in enumerate(expected):
        rows, labels = bank.extend(*step(number))
        assert labels.tolist() == [n for n in steps for _ in range(2)]
        assert torch.equal(rows, labels[:, None].float().expand(-1, 3))
        resumed = MemoryBank(num_steps)
        resumed.load_state_dict(bank.state_dict(), torch.device("cpu"))
        bank = resumed


def test_rows_are_constants():
    rows, labels = step(1)
    rows.requires_grad_()
    assert not MemoryBank(1).extend(2 * rows, labels)[0].requires_grad


def test_a_shorter_bank_keeps_the_last_steps():
    bank = MemoryBank(3)
    for number in range(3):
        bank.extend(*step(number))
    shorter = MemoryBank(1)
    shorter.load_state_dict(bank.state_dict(), torch.device("cpu"))
    assert shorter.extend(*step(7))[1].tolist() == [2, 2, 7, 7]


def extend_on_rank(number: int) -> tuple:
    rank = torch.distributed.get_rank()
    bank = MemoryBank(1)
    bank.extend(*step(10 * rank))
    rows, labels = bank.extend(*step(10 * rank + number))
    return rows[:, 0].tolist(), labels.tolist(), bank.state_dict()["world_size"]


def test_every_process_holds_the_rows_of_all(gloo_pool):
    first, second = gloo_pool.run(extend_on_rank, 1)
    assert first == second
    assert first[1] == first[0] == [0, 0, 10, 10, 1, 1, 11, 11] and first[2] == 2


def test_rows_of_another_number_of_processes_are_refused():
    state = dict(MemoryBank(1).state_dict(), world_size=4)
    with pytest.raises(CheckpointError, match="4"):
        MemoryBank(1).load_state_dict(state, torch.device("cpu"))
