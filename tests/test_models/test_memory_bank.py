# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Rows of the present step and of the last ones, of all processes."""

from __future__ import annotations

import pytest
import torch
from mmengine.dist import get_rank
from torch import Tensor

from mmsemi.errors import CheckpointError
from mmsemi.models.memory_bank import ClassMemoryBank, MemoryBank


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


# --- Rings of classes -----------------------------------------------------------------------------


def vectors(*angles: int) -> Tensor:
    """A unit vector for each number, of which it can be read."""
    angles = torch.tensor(angles) / 10
    return torch.stack([angles.cos(), angles.sin()], -1)


def held(bank: ClassMemoryBank) -> list[list[int]]:
    """The numbers of each class, oldest first."""
    found = []
    for c, count in enumerate(bank.count_C.tolist()):
        last_C1 = (bank.count_C - 1).clamp(min=0)[:, None]
        rows = bank.draw(torch.arange(count).minimum(last_C1))[c].float()
        numbers = (torch.atan2(rows[:, 1], rows[:, 0]) * 10).round().int().tolist()
        start = int(bank._next_C[c]) % max(count, 1)
        found.append(numbers[start:] + numbers[:start])
    return found


def push(bank: ClassMemoryBank, *numbers: list[int]) -> None:
    """Push rows to each class, of other scales, with some between them that are none."""
    most = max(1, *map(len, numbers)) + 1
    rows, valid = torch.zeros(len(numbers), most, 2), torch.zeros(len(numbers), most).bool()
    for row, mask, own in zip(rows, valid, numbers):
        row[1 : 1 + len(own)], mask[1 : 1 + len(own)] = 3 * vectors(*own), True
    bank.push(rows, valid)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_ring_keeps_the_newest(dtype):
    """docs/methods/u2pl.md#known-answers."""
    bank = ClassMemoryBank([4, 2], dtype)
    expected = [
        ([1, 2, 3], [7], [1, 2, 3], [7]),
        ([4, 5], [], [2, 3, 4, 5], [7]),
        ([6, 7, 8, 9, 10, 11], [8, 9], [8, 9, 10, 11], [8, 9]),
        ([], [], [8, 9, 10, 11], [8, 9]),
    ]
    for *new, first, second in expected:
        push(bank, *new)
        assert held(bank) == [first, second]
    assert bank.draw(torch.zeros(2, 3).long()).dtype == dtype and bank.filled == 1
    other = ClassMemoryBank([4, 2], dtype)
    other.load_state_dict(bank.state_dict(), torch.device("cpu"))
    for one in (bank, other):
        push(one, [12, 13], [10])
        assert held(one) == [[10, 11, 12, 13], [9, 10]]
    assert torch.equal(bank._rows_RD[:-1], other._rows_RD[:-1])
    swapped = bank.draw(torch.zeros(2, 1).long(), torch.tensor([1, 0]))
    assert torch.equal(swapped, bank.draw(torch.zeros(2, 1).long()).flip(0))


def push_on_a_rank(ranks: list[list[int]]) -> list[list[int]]:
    bank = ClassMemoryBank([4])
    push(bank, [8, 9, 10, 11])
    bank = ClassMemoryBank([4])
    push(bank, [8, 10] if get_rank() == 0 else [9, 11])
    own = ranks[get_rank()]
    rows = torch.zeros(1, 2, 2)
    rows[0, : len(own)] = vectors(*own)
    bank.push(rows, torch.arange(2)[None] < len(own))
    return held(bank)


def test_a_ring_gathers_in_the_order_of_the_ranks(gloo_pool):
    for found in gloo_pool.run(push_on_a_rank, [[12], [13, 14]]):
        assert found == [[11, 12, 13, 14]]


def test_a_ring_of_another_run_is_refused(monkeypatch):
    bank = ClassMemoryBank([4, 2])
    empty = bank.state_dict()
    push(bank, [1], [2])
    other = ClassMemoryBank([4, 3])
    with pytest.raises(CheckpointError, match=r"4 \+ 2 .*4 \+ 3"):
        other.load_state_dict(bank.state_dict(), torch.device("cpu"))
    state = bank.state_dict()
    monkeypatch.setattr("mmsemi.models.memory_bank.get_world_size", lambda: 2)
    with pytest.raises(CheckpointError, match="1 processes.*2"):
        bank.load_state_dict(state, torch.device("cpu"))
    monkeypatch.undo()
    fresh = ClassMemoryBank([4, 2])
    fresh.load_state_dict(empty, torch.device("cpu"))
    assert fresh.filled == 0
