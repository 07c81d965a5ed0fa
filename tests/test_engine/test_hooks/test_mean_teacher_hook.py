# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""When the teacher starts and steps; the average itself is in tests/test_models/test_ema.py."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from mmsemi.engine.hooks import MeanTeacherHook
from mmsemi.engine.optim import has_stepped
from mmsemi.errors import ConfigError
from mmsemi.models import EMATeacher


def as_numpy(module: nn.Module) -> dict[str, np.ndarray]:
    return {key: value.double().numpy().copy() for key, value in module.state_dict().items()}


class History(Hook):
    """The student before training and after each iteration."""

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self.students: list[dict[str, np.ndarray]] = []
        self.is_update: list[bool] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if not self.students:
            self.students.append(as_numpy(runner.model.student))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.students.append(as_numpy(runner.model.student))
        self.is_update.append(runner.optim_wrapper.should_update())


def expected_teacher(
    history: History, momentum: float, buffers: str, warmup: bool
) -> dict[str, np.ndarray]:
    """The recursion in numpy, from the recorded students."""
    teacher = dict(history.students[0])
    step = 0
    for student, is_update in zip(history.students[1:], history.is_update):
        if not is_update:
            continue
        decay = min(1 - 1 / (step + 1), 1 - momentum) if warmup else 1 - momentum
        step += 1
        for key, value in student.items():
            is_buffer = "running" in key or "num_batches" in key
            if (is_buffer and buffers == "copy") or "num_batches" in key:
                teacher[key] = value
            else:
                teacher[key] = decay * teacher[key] + (1 - decay) * value
    return teacher


@pytest.mark.parametrize("buffers", ["copy", "ema", "keep"])
@pytest.mark.parametrize(("warmup", "accumulate"), [(False, 1), (True, 1), (True, 2)])
def test_average_of_a_training_agrees_with_numpy(
    toy, tmp_path, buffers, warmup, accumulate
) -> None:
    history = History()
    mode = "train" if buffers == "keep" else "eval"
    runner = toy.runner(
        tmp_path,
        max_iters=9,
        model=toy.Model(momentum=0.2, buffers=buffers, warmup=warmup, mode=mode),
        hooks=(history,),
        accumulate=accumulate,
    )
    runner.train()
    teacher = runner.model.teacher
    expected, found = expected_teacher(history, 0.2, buffers, warmup), as_numpy(teacher.module)
    for key, value in expected.items():
        if buffers == "keep" and ("running" in key or "num_batches" in key):
            assert key != "1.num_batches_tracked" or found[key] == 9, "from its own forwards"
            continue
        np.testing.assert_allclose(found[key], value, rtol=2e-6, atol=2e-6, err_msg=key)
    steps = 9 if accumulate == 1 else 5  # the remainder at the end steps, too
    assert teacher.steps == sum(history.is_update) == steps
    assert not any(p.requires_grad for p in teacher.parameters())
    (line,) = (line for line in runner.log.lines if line.startswith("teacher: "))
    text = {"copy": "buffers copied", "ema": "buffers EMA", "keep": "its own"}[buffers]
    assert "0.8" in line and text in line and mode in line and ("warm-up" in line) == warmup


class Stub:
    """Just enough of a runner to call the hook step by step, on networks with one weight."""

    def __init__(self, start: float = 1.0, iteration: int = 0, **teacher) -> None:
        self.model = nn.Module()
        self.model.student = nn.Linear(1, 1)
        nn.init.constant_(self.model.student.weight, start)
        self.model.teacher = EMATeacher(self.model.student, **{"momentum": 0.01, **teacher})
        self.iter = iteration
        self.optim_wrapper = self
        self.steps_now = True
        self.log: list[str] = []
        self.warnings: list[str] = []
        self.logger = SimpleNamespace(info=self.log.append, warning=self.warnings.append)

    def should_update(self) -> bool:
        return self.steps_now

    @property
    def weight(self) -> float:
        return self.model.teacher.module.weight.item()


def test_it_averages_with_what_the_step_left() -> None:
    """docs/methods/mean_teacher.md#the-teacher-in-each-pass"""
    stub, hook = Stub(), MeanTeacherHook()
    hook.before_train(stub)
    found = []
    for student in (1.0, 2.0, 3.0):  # before each iteration; the step makes the next one of it
        hook.before_train_iter(stub, 0)
        stub.model.teacher.update_if_due()
        found.append(stub.weight)
        nn.init.constant_(stub.model.student.weight, student + 1)
        hook.after_train_iter(stub, 0)
    assert found == pytest.approx([1, 1.01, 1.0299], abs=1e-6)


def test_iterations_without_a_step_leave_the_teacher_alone() -> None:
    stub, hook = Stub(), MeanTeacherHook()
    hook.before_train(stub)
    nn.init.constant_(stub.model.student.weight, 5.0)
    moved = []
    for stub.steps_now in (False, False, True, False, True):
        before = stub.weight
        hook.before_train_iter(stub, 0)
        hook.after_train_iter(stub, 0)
        moved.append(stub.weight != before)
    assert moved == [False, False, True, False, True]
    assert stub.model.teacher.steps == 2


def mid_iteration(hook: MeanTeacherHook, stub: Stub, student: float) -> tuple[float, float]:
    """The teacher before and behind the place where the method asks for the average."""
    nn.init.constant_(stub.model.student.weight, student)
    hook.before_train_iter(stub, 0)
    before = stub.weight
    stub.model.teacher.update_if_due()
    behind = stub.weight
    stub.model.teacher.update_if_due()  # a second time changes nothing
    hook.after_train_iter(stub, 0)
    assert stub.weight == behind
    return before, behind


def test_the_average_between_the_forwards() -> None:
    """Students 1, 2, 3, 4 before iterations 0 to 3.

    docs/methods/mean_teacher.md#the-teacher-in-each-pass
    """
    stub, hook = Stub(when="mid"), MeanTeacherHook()
    hook.before_train(stub)
    found = [mid_iteration(hook, stub, student) for student in (1.0, 2.0, 3.0, 4.0)]
    expected = [(1, 1), (1, 1.01), (1.01, 1.0299), (1.0299, 1.059601)]
    assert found == [pytest.approx(pair, abs=1e-6) for pair in expected]
    assert stub.model.teacher.steps == 4
    assert any("0.99" in line and "between the forwards" in line for line in stub.log)


def test_the_average_between_the_forwards_follows_a_step() -> None:
    """Accumulation over two iterations: the average is made in the first one behind each step."""
    stub, hook = Stub(momentum=0.5, when="mid"), MeanTeacherHook()
    hook.before_train(stub)
    moved = []
    for iteration, student in enumerate((1.0, 1.0, 2.0, 2.0, 3.0)):
        stub.steps_now = iteration % 2 == 0  # the iteration before it stepped
        before, behind = mid_iteration(hook, stub, student)
        moved.append(before != behind)
    assert moved == [False, False, True, False, True]


def test_a_model_that_does_not_ask_for_the_average_is_told_so(toy, tmp_path) -> None:
    runner = toy.runner(tmp_path, 2, model=toy.Model(when="mid"))
    with pytest.raises(ConfigError, match="ToyModel .*when='after'"):
        runner.train()


# --- The start ------------------------------------------------------------------------------------


def test_the_teacher_starts_as_the_student_also_from_a_plain_checkpoint(toy, tmp_path) -> None:
    runner = toy.runner(tmp_path, max_iters=1)
    student, teacher = runner.model.student, runner.model.teacher
    plain = {f"student.{key}": value + 1 for key, value in student.state_dict().items()}
    runner.model.load_state_dict(plain, strict=False)
    hook = next(hook for hook in runner.hooks if isinstance(hook, MeanTeacherHook))
    runner.build_train_loop(runner._train_loop)
    assert not teacher.is_started
    hook.before_train(runner)
    new, old = as_numpy(student), as_numpy(teacher.module)
    assert all((new[key] == old[key]).all() for key in new)
    assert teacher.is_started


def test_a_loaded_teacher_is_kept(toy, tmp_path) -> None:
    toy.runner(tmp_path, max_iters=5, save_interval=5).train()
    stored = torch.load(tmp_path / "iter_5.pth", weights_only=True)["state_dict"]
    runner = toy.runner(tmp_path / "b", max_iters=1, load_from=str(tmp_path / "iter_5.pth"))
    kept = []

    class Look(Hook):
        def before_train_epoch(self, runner) -> None:
            kept.append({k: v.clone() for k, v in runner.model.teacher.state_dict().items()})

    runner.register_hook(Look())
    runner.train()
    assert not torch.equal(stored["teacher.module.0.weight"], stored["student.0.weight"])
    assert all(torch.equal(value, stored[f"teacher.{key}"]) for key, value in kept[0].items())
    assert kept[0]["steps"] == 5
    assert not any("no teacher" in line for line in runner.log.lines)


def test_a_warm_up_goes_on_after_a_resume(toy, tmp_path) -> None:
    """Step 5 has the weight 1/6; a warm-up that starts again would copy the student."""
    settings = dict(model=toy.Model(momentum=0.001), max_iters=6, save_interval=5)
    straight = toy.runner(tmp_path, **settings)
    straight.train()
    settings["model"] = toy.Model(momentum=0.001)
    resumed = toy.runner(
        tmp_path / "b", resume=True, load_from=str(tmp_path / "iter_5.pth"), **settings
    )
    resumed.train()
    assert resumed.model.teacher.steps == 6
    for key, value in straight.model.teacher.state_dict().items():
        assert torch.equal(value, resumed.model.teacher.state_dict()[key]), key
    student = resumed.model.student.state_dict()
    assert not torch.equal(resumed.model.teacher.module[0].weight, student["0.weight"])


def test_resuming_without_a_teacher_says_so(toy, tmp_path) -> None:
    """Under stock mmengine's loop; ours refuses such a checkpoint."""
    toy.runner(tmp_path, max_iters=2, save_interval=2, teacher=False).train()
    checkpoint = torch.load(tmp_path / "iter_2.pth", weights_only=True)
    checkpoint["state_dict"] = {
        key: value for key, value in checkpoint["state_dict"].items() if "teacher" not in key
    }
    torch.save(checkpoint, tmp_path / "plain.pth")
    settings = dict(loop="IterBasedTrainLoop", sampler=dict(type="InfiniteSampler"))
    path = str(tmp_path / "plain.pth")
    runner = toy.runner(tmp_path, max_iters=3, resume=True, load_from=path, **settings)
    runner.train()
    runner.train_loop.dataloader_iterator = None
    assert any("checkpoint has no teacher" in line for line in runner.log.lines)
    assert runner.model.teacher.steps == 1


@pytest.mark.parametrize(
    ("passes", "labeled", "unlabeled", "accumulate", "steps"),
    [(1, 2, 2, 1, 6), (1, 1, 3, 1, 4), (2, 2, 2, 1, 12), (1, 2, 2, 2, 3), (0, 2, 2, 1, 0)],
)
def test_a_pass_of_copies_follows_data_and_batch(
    toy, tmp_path, passes, labeled, unlabeled, accumulate, steps
) -> None:
    """12 unlabelled vectors."""
    counts = dict(labeled=labeled, unlabeled=unlabeled)
    runner = toy.runner(
        tmp_path,
        max_iters=2,
        model=toy.Model(copy_passes=passes),
        accumulate=accumulate,
        sampler=dict(type="MultiSourceSampler", num_per_source=counts),
    )
    runner.train()
    assert runner.model.teacher.copy_steps == steps


@pytest.mark.parametrize(
    "settings",
    [
        dict(loop="IterBasedTrainLoop", sampler=dict(type="InfiniteSampler")),
        dict(sampler=dict(type="InfiniteSampler")),
        dict(sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=4))),
    ],
)
def test_passes_that_cannot_be_counted_are_refused(toy, tmp_path, settings) -> None:
    runner = toy.runner(tmp_path, model=toy.Model(copy_passes=1), **settings)
    with pytest.raises(ConfigError, match="passes"):
        runner.train()


def test_optim_wrapper_dict_steps_with_its_members() -> None:
    layer = nn.Linear(1, 1)
    wrappers = OptimWrapperDict(
        a=OptimWrapper(torch.optim.SGD(layer.parameters(), 0.1), accumulative_counts=2),
        b=OptimWrapper(torch.optim.SGD(layer.parameters(), 0.1), accumulative_counts=2),
    )
    found = []
    for _ in range(4):
        for wrapper in wrappers.values():
            wrapper.update_params(layer(torch.ones(1, 1)).sum())
        found.append(has_stepped(wrappers))
    assert found == [False, True, False, True]


# --- Refusals -------------------------------------------------------------------------------------


def test_it_takes_no_settings() -> None:
    """How the average is taken is the method's business."""
    with pytest.raises(TypeError, match="MeanTeacherHook"):
        MeanTeacherHook(momentum=0.1)


def test_models_that_do_not_fit_are_refused() -> None:
    stub, hook = Stub(), MeanTeacherHook()
    stub.model.student = nn.Linear(2, 1)
    stub.model.teacher.is_loaded = True  # nothing is copied
    with pytest.raises(ConfigError, match="'weight'"):
        hook.before_train(stub)
    stub.model.teacher = nn.Linear(2, 1)  # an average of another kind
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"model\.teacher, Module "):
            hook.before_run(stub)
        del stub.model.teacher
        stub.model.teacher = None

    class FullyShardedDataParallel(nn.Module):
        pass

    stub.model = FullyShardedDataParallel()
    with pytest.raises(ConfigError, match="FullyShardedDataParallel"):
        hook.before_run(stub)
