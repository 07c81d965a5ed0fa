# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from mmsemi.engine.hooks import MeanTeacherHook


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
    history: History, momentum: float, buffers: str, warmup: bool, interval: int
) -> dict[str, np.ndarray]:
    """The recursion in numpy, from the recorded students."""
    teacher = dict(history.students[0])
    step = 0
    for student, is_update in zip(history.students[1:], history.is_update):
        if not is_update:
            continue
        decay = min(1 - 1 / (step + 1), 1 - momentum) if warmup else 1 - momentum
        step += 1
        if step % interval:
            continue
        for key, value in student.items():
            is_buffer = "running" in key or "num_batches" in key
            if is_buffer and buffers == "keep":
                continue
            if (is_buffer and buffers == "copy") or "num_batches" in key:
                teacher[key] = value
            else:
                teacher[key] = decay * teacher[key] + (1 - decay) * value
    return teacher


@pytest.mark.parametrize("buffers", ["copy", "ema", "keep"])
@pytest.mark.parametrize(
    ("warmup", "accumulate", "interval"), [(False, 1, 1), (True, 1, 1), (True, 2, 1), (False, 1, 3)]
)
def test_average_agrees_with_numpy(toy, tmp_path, buffers, warmup, accumulate, interval) -> None:
    history = History()
    hook = MeanTeacherHook(momentum=0.2, buffers=buffers, warmup=warmup, interval=interval)
    runner = toy.runner(
        tmp_path, max_iters=9, teacher=False, hooks=(history, hook), accumulate=accumulate
    )
    runner.train()
    expected = expected_teacher(history, 0.2, buffers, warmup, interval)
    found = as_numpy(runner.model.teacher)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=2e-6, atol=2e-6, err_msg=key)
    steps = 9 if accumulate == 1 else 5  # the remainder at the end steps, too
    assert runner.message_hub.get_info("mean_teacher_steps") == sum(history.is_update) == steps
    assert not any(p.requires_grad for p in runner.model.teacher.parameters())
    text = {"copy": "copied", "ema": "EMA", "keep": "its own"}[buffers]
    warm = ", warm-up" if warmup else ""
    assert f"teacher: params EMA 0.8{warm}, buffers {text}, eval" in runner.log.lines


class Stub:
    """Just enough of a runner to call the hook step by step."""

    def __init__(self, iteration: int = 0) -> None:
        self.model = nn.Module()
        self.model.student, self.model.teacher = nn.Linear(1, 1), nn.Linear(1, 1)
        self.iter = iteration
        self.info: dict = {}
        self.message_hub = self
        self.optim_wrapper = self
        self.steps_now = True
        self.log: list[str] = []
        self.logger = SimpleNamespace(info=self.log.append)

    def get_info(self, key, default=None):
        return self.info.get(key, default)

    def update_info(self, key, value) -> None:
        self.info[key] = value

    def should_update(self) -> bool:
        return self.steps_now


def run_steps(hook: MeanTeacherHook, students: list[float], start: float = 0.0) -> list[float]:
    stub = Stub()
    nn.init.constant_(stub.model.student.weight, start)
    hook.before_train(stub)
    found = []
    for value in students:
        nn.init.constant_(stub.model.student.weight, value)
        hook.after_train_iter(stub, 0)
        found.append(stub.model.teacher.weight.item())
    return found


def test_known_answers_of_unimatch_v2() -> None:
    """methods/unimatch.md: student equals k at step k, decay min(1 - 1/(k+1), 0.996)."""
    found = run_steps(MeanTeacherHook(momentum=0.004, warmup=True), list(range(501)))
    expected = {1: 0.5, 10: 5, 249: 124.5, 250: 125.002, 500: 296.526399}
    for step, value in expected.items():
        assert found[step] == pytest.approx(value, rel=1e-5), step


def test_known_answers_of_mlmt() -> None:
    """methods/s4gan_mlmt.md K7: the warm-up counts from 1."""
    found = run_steps(MeanTeacherHook(0.001, warmup=True, warmup_start=1), [1.0, 2.0, 3.0])
    assert found == pytest.approx([0.5, 1.0, 1.5])


def test_known_answers_of_mean_teacher() -> None:
    """methods/mean_teacher.md K3: decay 0.99 from 1 towards 0; from 1, students 2 and 3."""
    assert run_steps(MeanTeacherHook(0.01), [0.0] * 3, start=1.0) == pytest.approx(
        [0.99, 0.9801, 0.970299]
    )
    assert run_steps(MeanTeacherHook(0.01), [2.0, 3.0], start=1.0) == pytest.approx([1.01, 1.0299])


def mid_iteration(hook: MeanTeacherHook, stub: Stub, student: float) -> tuple[float, float]:
    """The teacher before and behind the place where the model asks for the average."""
    nn.init.constant_(stub.model.student.weight, student)
    hook.before_train_iter(stub, 0)
    before = stub.model.teacher.weight.item()
    stub.model.update_teacher()
    behind = stub.model.teacher.weight.item()
    stub.model.update_teacher()  # a second time changes nothing
    hook.after_train_iter(stub, 0)
    assert stub.model.teacher.weight.item() == behind
    return before, behind


def test_known_answers_of_the_average_between_the_forwards() -> None:
    """methods/mean_teacher.md K3: students 1, 2, 3, 4 before iterations 0 to 3."""
    stub, hook = Stub(), MeanTeacherHook(0.01, when="mid")
    nn.init.constant_(stub.model.student.weight, 1.0)
    hook.before_train(stub)
    found = [mid_iteration(hook, stub, student) for student in (1.0, 2.0, 3.0, 4.0)]
    expected = [(1, 1), (1, 1.01), (1.01, 1.0299), (1.0299, 1.059601)]
    assert found == [pytest.approx(pair, abs=1e-6) for pair in expected]
    assert stub.info["mean_teacher_steps"] == 4
    assert any("EMA 0.99, between the forwards" in line for line in stub.log)


def test_the_average_between_the_forwards_follows_a_step() -> None:
    """Accumulation over two iterations: the average is made in the first one behind each step."""
    stub, hook = Stub(), MeanTeacherHook(0.5, when="mid")
    nn.init.constant_(stub.model.student.weight, 1.0)
    hook.before_train(stub)
    moved = []
    for iteration, student in enumerate((1.0, 1.0, 2.0, 2.0, 3.0)):
        stub.steps_now = iteration % 2 == 0  # the iteration before it stepped
        before, behind = mid_iteration(hook, stub, student)
        moved.append(before != behind)
    assert moved == [False, False, True, False, True]


def test_a_model_that_does_not_ask_for_the_average_is_told_so(toy, tmp_path) -> None:
    runner = toy.runner(tmp_path, 2, teacher=False, hooks=(MeanTeacherHook(when="mid"),))
    with pytest.raises(RuntimeError, match="asks for it, but ToyModel did not: use when='after'"):
        runner.train()


@pytest.mark.parametrize("buffers", ["ema", "copy"])
def test_integer_buffers_are_copied(buffers) -> None:
    """methods/unimatch.md, known answer 10: averaged in float32 and cut off they end one too low."""
    stub, hook = Stub(), MeanTeacherHook(0.004, warmup=True, buffers=buffers)
    for net in (stub.model.student, stub.model.teacher):
        net.register_buffer("index", torch.arange(2212))
    hook.before_train(stub)
    for _ in range(2000):
        hook.after_train_iter(stub, 0)
    assert torch.equal(stub.model.teacher.index, torch.arange(2212))
    stub.model.student.index += 5
    hook.after_train_iter(stub, 0)
    assert torch.equal(stub.model.teacher.index, torch.arange(2212) + 5)


def test_teacher_starts_as_the_student_also_from_a_plain_checkpoint(toy, tmp_path) -> None:
    runner = toy.runner(tmp_path, max_iters=1)
    hook = next(hook for hook in runner.hooks if isinstance(hook, MeanTeacherHook))
    runner.build_train_loop(runner._train_loop)
    hook.after_load_checkpoint(runner, dict(state_dict={"student.0.weight": 0}))
    hook.before_train(runner)
    student, teacher = (as_numpy(net) for net in (runner.model.student, runner.model.teacher))
    assert all((student[key] == teacher[key]).all() for key in student)
    assert runner.model.teacher_hook_attached


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
    assert not torch.equal(stored["teacher.0.weight"], stored["student.0.weight"])
    assert all(torch.equal(value, stored[f"teacher.{key}"]) for key, value in kept[0].items())


def test_teacher_loaded_flag_of_a_semi_segmentor_is_respected() -> None:
    stub = Stub()
    stub.model.teacher_loaded = True
    before = stub.model.teacher.weight.item()
    MeanTeacherHook().before_train(stub)
    assert stub.model.teacher.weight.item() == before


def test_resuming_without_a_teacher_says_so(toy, tmp_path) -> None:
    toy.runner(tmp_path, max_iters=2, save_interval=2, teacher=False).train()
    checkpoint = torch.load(tmp_path / "iter_2.pth", weights_only=True)
    checkpoint["state_dict"] = {
        key: value for key, value in checkpoint["state_dict"].items() if "teacher" not in key
    }
    torch.save(checkpoint, tmp_path / "plain.pth")
    runner = toy.runner(tmp_path, max_iters=3, resume=True, load_from=str(tmp_path / "plain.pth"))
    runner.train()
    assert any("checkpoint has no teacher" in line for line in runner.log.lines)


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
        found.append(MeanTeacherHook._stepped(wrappers))
    assert found == [False, True, False, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(momentum=0), r"momentum=0 must lie in \(0, 1\]"),
        (dict(momentum=1.5), "momentum=1.5"),
        (dict(interval=0), "interval=0"),
        (dict(buffers="skip"), "buffers='skip' must be 'copy', 'ema' or 'keep'"),
        (dict(when="before"), "when='before' must be 'after' or 'mid'"),
    ],
)
def test_bad_arguments(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        MeanTeacherHook(**settings)


def test_models_that_do_not_fit_are_refused(toy) -> None:
    stub = Stub()
    stub.model.teacher = nn.Linear(2, 1)
    stub.model.sync_teacher = lambda: None
    with pytest.raises(ValueError, match="student and teacher differ in 'weight'"):
        MeanTeacherHook().before_train(stub)
    del stub.model.teacher
    with pytest.raises(TypeError, match="needs model.teacher, Module has none"):
        MeanTeacherHook().before_run(stub)

    class FullyShardedDataParallel(nn.Module):
        pass

    stub.model = FullyShardedDataParallel()
    with pytest.raises(TypeError, match="FullyShardedDataParallel shards them: train with DDP"):
        MeanTeacherHook().before_run(stub)
