# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The average itself: formula, buffers, warm-up, its step in a checkpoint, modes, refusals."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from mmsemi.errors import ConfigError
from mmsemi.models import EMATeacher


class Net(nn.Module):
    """Batch norm, dropout, tensors that the fused operations treat apart, an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.large = nn.Linear(80, 80)
        self.transposed = nn.Parameter(torch.randn(70, 90).t())  # large, and not contiguous
        self.precise = nn.Parameter(torch.randn(5, dtype=torch.float64))
        self.register_buffer("index", torch.arange(6))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.norm(self.conv(x)))


def as_numpy(module: nn.Module) -> dict[str, np.ndarray]:
    return {key: value.double().numpy().copy() for key, value in module.state_dict().items()}


def change(net: nn.Module, generator: torch.Generator) -> None:
    """Other values in all tensors, as an optimiser step and a forward leave them."""
    for value in net.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.randn(value.shape, generator=generator, dtype=value.dtype))
        else:
            value.add_(3)


@pytest.mark.parametrize("buffers", ["copy", "ema", "keep"])
@pytest.mark.parametrize(("warmup", "start"), [(False, 0), (True, 0), (True, 1)])
def test_the_average_is_the_plain_formula(buffers, warmup, start):
    """teacher <- (1 - m) teacher + m student, in double precision."""
    torch.manual_seed(0)
    student, generator = Net(), torch.Generator().manual_seed(1)
    teacher = EMATeacher(student, 0.2, warmup, start, buffers, mode="train")
    teacher.start(student)
    expected = as_numpy(student)
    for step in range(9):
        change(student, generator)
        teacher.update()
        weight = max(0.2, 1 / (step + start + 1)) if warmup else 0.2
        for key, value in as_numpy(student).items():
            is_buffer = key in dict(student.named_buffers())
            if is_buffer and buffers == "keep":
                continue
            if is_buffer and (buffers == "copy" or "num_batches" in key or key == "index"):
                expected[key] = value
            else:
                expected[key] = (1 - weight) * expected[key] + weight * value
    found = as_numpy(teacher.module)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=2e-6, atol=2e-6, err_msg=key)
    assert teacher.steps == 9


def test_a_teacher_starts_as_a_copy_of_its_own():
    student = Net()
    teacher = EMATeacher(student, 0.1)
    ours, theirs = teacher.module.state_dict(), student.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert all(value.data_ptr() != theirs[key].data_ptr() for key, value in ours.items())
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in student.parameters())
    x = torch.randn(2, 3, 5, 5)
    assert torch.equal(teacher(x), teacher.module(x)) and not teacher(x).requires_grad
    change(student, torch.Generator().manual_seed(0))
    teacher.copy_student(student)
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


# --- Known answers --------------------------------------------------------------------------------


def run_steps(
    students: list[float], start: float = 0.0, copy_steps: int = 0, **settings
) -> list[float]:
    """The teacher's weight after each step, of students with these weights."""
    student = nn.Linear(1, 1)
    nn.init.constant_(student.weight, start)
    teacher = EMATeacher(student, **settings)
    teacher.copy_steps = copy_steps
    teacher.start(student)
    found = []
    for value in students:
        nn.init.constant_(student.weight, value)
        teacher.update()
        found.append(teacher.module.weight.item())
    return found


def test_the_warm_up_of_unimatch_v2():
    """docs/methods/fixmatch.md#average-of-the-teacher"""
    found = run_steps(list(range(501)), momentum=0.004, warmup=True)
    expected = {0: 0, 1: 0.5, 10: 5, 249: 124.5, 250: 125.002, 500: 296.526399}
    assert {step: found[step] for step in expected} == pytest.approx(expected, rel=1e-5)


def test_the_warm_up_of_mlmt_counts_from_one():
    """docs/methods/mlmt.md#average-of-the-teacher"""
    found = run_steps([1.0, 2.0, 3.0], momentum=0.001, warmup=True, warmup_start=1)
    assert found == pytest.approx([0.5, 1.0, 1.5])


def test_the_warm_up_of_augseg_copies_first():
    """docs/methods/augseg.md#average-of-the-teacher"""
    found = run_steps(list(range(14)), start=9.0, momentum=0.1, warmup=True, copy_steps=3)
    expected = {0: 0, 1: 1, 2: 2, 3: 2.25, 4: 2.6, 5: 3, 9: 4.8, 10: 5.32, 13: 7.14928}
    assert {step: found[step] for step in expected} == pytest.approx(expected, rel=1e-6)
    plain = run_steps(list(range(14)), momentum=0.1, warmup=True)
    assert [plain[10], plain[13]] == pytest.approx([5.05, 6.95245])


def test_a_copy_leaves_nothing_of_the_teacher():
    """Whatever it held: parameters, floating and integer buffers."""
    student = Net()
    teacher = EMATeacher(student, 0.1, buffers="ema")
    teacher.copy_steps = 1
    for value in teacher.module.state_dict().values():
        value.fill_(float("nan") if value.is_floating_point() else -1)
    teacher.start(student)
    teacher.update()
    for key, value in student.state_dict().items():
        assert torch.equal(teacher.module.state_dict()[key], value), key


def test_the_average_of_mean_teacher():
    """docs/methods/mean_teacher.md#the-teacher-in-each-pass"""
    found = run_steps([0.0] * 3, start=1.0, momentum=0.01)
    assert found == pytest.approx([0.99, 0.9801, 0.970299])
    assert run_steps([2.0, 3.0], start=1.0, momentum=0.01) == pytest.approx([1.01, 1.0299])


@pytest.mark.parametrize("buffers", ["ema", "copy"])
def test_integer_buffers_are_copied(buffers):
    """docs/methods/fixmatch.md#integer-buffers"""
    student = nn.Linear(1, 1)
    student.register_buffer("index", torch.arange(2212))
    teacher = EMATeacher(student, 0.004, warmup=True, buffers=buffers)
    teacher.start(student)
    for _ in range(2000):
        teacher.update()
    assert torch.equal(teacher.module.index, torch.arange(2212))
    student.index += 5
    teacher.update()
    assert torch.equal(teacher.module.index, torch.arange(2212) + 5)


# --- Its step -------------------------------------------------------------------------------------


def test_the_step_is_in_the_checkpoint_and_the_warm_up_goes_on():
    student, generator = Net(), torch.Generator().manual_seed(0)
    teacher = EMATeacher(student, 0.01, warmup=True)
    teacher.start(student)
    for _ in range(3):
        change(student, generator)
        teacher.update()
    state = copy.deepcopy(teacher.state_dict())
    assert state["steps"] == 3 and state["steps"].dtype == torch.int64
    assert all(key == "steps" or key.startswith("module.") for key in state)

    resumed = EMATeacher(student, 0.01, warmup=True)
    resumed.load_state_dict(state)
    resumed.start(student)
    change(student, generator)
    for one in (teacher, resumed):
        one.update()
    assert resumed.steps == 4
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_a_teacher_knows_whether_a_checkpoint_brought_it():
    """With its step; weights that a method has spread over all networks come without one."""
    student = nn.Linear(1, 1)
    teacher = EMATeacher(student, 0.01)
    assert not teacher.is_loaded
    state = teacher.state_dict()
    weights = {key: value for key, value in state.items() if key != "steps"}
    teacher.load_state_dict({**state, "steps": torch.tensor(7)})
    assert teacher.is_loaded and teacher.steps == 7
    teacher.load_state_dict(weights)
    assert not teacher.is_loaded and teacher.steps == 0 and "steps" not in weights
    teacher.start(student)
    teacher.update()
    assert teacher.steps == 1


def test_the_step_is_counted_without_a_warm_up_too():
    student = nn.Linear(1, 1)
    teacher = EMATeacher(student, 0.01)
    teacher.start(student)
    teacher.update()
    assert teacher.steps == 1


def test_between_the_forwards_it_averages_once_and_only_when_due():
    student = nn.Linear(1, 1)
    teacher = EMATeacher(student, 0.5, when="mid")
    teacher.start(student)
    nn.init.constant_(student.weight, 8.0)
    before = teacher.module.weight.item()
    teacher.update_if_due()
    assert teacher.module.weight.item() == before
    teacher.is_due = True
    teacher.update_if_due()
    behind = teacher.module.weight.item()
    assert behind == pytest.approx((before + 8) / 2) and not teacher.is_due
    teacher.update_if_due()
    assert teacher.module.weight.item() == behind and teacher.steps == 1

    after = EMATeacher(student, 0.5)
    after.start(student)
    after.is_due = True
    after.update_if_due()
    assert after.steps == 0, "the hook does it"


# --- Modes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_mode_of_the_network(mode):
    """In eval mode for good, or as its model; the student's mode is not touched."""
    model = nn.Module()
    model.student = Net()
    model.teacher = EMATeacher(model.student, 0.1, mode=mode)
    for is_training in (True, False, True):
        model.train(is_training)
        modes = {module.training for module in model.teacher.module.modules()}
        assert modes == {is_training and mode == "train"}
        assert all(module.training == is_training for module in model.student.modules())


def test_a_fresh_teacher_in_eval_mode_needs_no_call():
    assert not any(m.training for m in EMATeacher(Net().train(), 0.1).module.modules())


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        dict(momentum=0),
        dict(momentum=1.5),
        dict(momentum=-0.1),
        dict(buffers="skip"),
        dict(mode="test"),
        dict(when="before"),
        dict(mode="eval", buffers="keep"),
    ],
)
def test_values_that_mean_nothing_are_refused(settings):
    name, value = list(settings.items())[-1]
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        EMATeacher(nn.Linear(1, 1), **{"momentum": 0.1, **settings})


@pytest.mark.parametrize(("momentum", "warns"), [(0.996, True), (0.5, False), (0.004, False)])
def test_a_momentum_that_looks_like_a_decay_is_warned_of(momentum, warns):
    lines = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        EMATeacher(nn.Linear(1, 1), momentum)
    finally:
        logger.removeHandler(handler)
    assert len(lines) == warns
    assert not warns or ("momentum=0.996" in lines[0] and "momentum=0.004" in lines[0])


def test_structures_that_differ_are_refused():
    teacher = EMATeacher(nn.Linear(1, 1), 0.1)
    for other, name in ((nn.Linear(2, 1), "weight"), (nn.Linear(1, 1, bias=False), "bias")):
        with pytest.raises(ConfigError, match=f"'{name}'"):
            teacher.start(other)
    assert not teacher.is_started
    with_buffer = nn.Linear(1, 1)
    with_buffer.register_buffer("index", torch.zeros(1))
    with pytest.raises(ConfigError, match="'index'"):
        teacher.start(with_buffer)
