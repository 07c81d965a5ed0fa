# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import random
import time

import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from mmsemi.engine.hooks import MeanTeacherHook, RandomStateHook
from mmsemi.errors import DataError


class DrawNumbers(Hook):
    """A user hook that draws from all three global generators in each step."""

    def __init__(self) -> None:
        self.numbers = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.numbers[runner.iter] = (random.random(), np.random.rand(), torch.rand(()).item())

    def before_val(self, runner) -> None:
        random.random(), np.random.rand(), torch.rand(())


def assert_same_end(straight, resumed, first: int) -> None:
    """Weights, optimiser, schedule, message hub and losses agree bit for bit."""
    for iteration in range(first, straight.max_iters):
        assert straight.recorder.losses[iteration] == resumed.recorder.losses[iteration], iteration
    expected, found = straight.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    expected, found = (run.optim_wrapper.optimizer.state_dict() for run in (straight, resumed))
    assert expected["param_groups"] == found["param_groups"]
    for key, state in expected["state"].items():
        assert torch.equal(state["momentum_buffer"], found["state"][key]["momentum_buffer"])
    assert straight.model.teacher.steps == straight.max_iters
    for key in ("iter", "best_score"):
        assert straight.message_hub.get_info(key) == resumed.message_hub.get_info(key), key
    for name, scalar in straight.message_hub.log_scalars.items():
        if "time" not in name and name.startswith("train/"):
            assert np.array_equal(scalar.data[0], resumed.message_hub.get_scalar(name).data[0]), (
                name
            )


@pytest.mark.parametrize(
    "settings",
    [
        dict(num_workers=0),
        dict(num_workers=2),
        dict(num_workers=0, val_interval=5, checkpoint=dict(save_best="mIoU", rule="greater")),
        dict(num_workers=2, val_interval=5),
        dict(num_workers=0, seed=None),
        dict(num_workers=0, checkpoint=dict(type="CheckpointHook")),
        dict(sampler=dict(type="InfiniteSampler"), seed=None),
        dict(sampler=dict(type="DefaultSampler", shuffle=True), batch_size=5),
    ],
    ids=[
        "workers0",
        "workers2",
        "val",
        "val_workers2",
        "no_seed",
        "stock_hook",
        "infinite",
        "default_sampler",
    ],
)
def test_resumed_run_equals_straight_run(toy, tmp_path, settings) -> None:
    """10 iterations + a fresh runner for 10 more = 20 iterations, also if hooks draw numbers."""
    straight = toy.runner(tmp_path / "a", hooks=(numbers := DrawNumbers(),), **settings)
    straight.train()
    resumed = toy.runner(
        tmp_path / "b",
        hooks=(resumed_numbers := DrawNumbers(),),
        resume=True,
        load_from=str(tmp_path / "a" / "iter_10.pth"),
        **settings,
    )
    resumed.train()
    assert sorted(resumed.recorder.losses) == list(range(10, 20))
    assert_same_end(straight, resumed, first=10)
    assert all(numbers.numbers[i] == resumed_numbers.numbers[i] for i in range(10, 20))
    if resumed.val_loop is not None:
        assert straight.recorder.metrics[20] == resumed.recorder.metrics[20]


def test_validation_changes_nothing(toy, tmp_path) -> None:
    without = toy.runner(tmp_path / "a", max_iters=8)
    without.train()
    validated = toy.runner(tmp_path / "b", max_iters=8, val_interval=2)
    validated.train()
    assert without.recorder.losses == validated.recorder.losses


def test_resume_far_in_reads_nothing_and_starts_at_once(toy, tmp_path) -> None:
    toy.runner(tmp_path, max_iters=2).train()
    checkpoint = torch.load(tmp_path / "iter_2.pth", weights_only=True)
    checkpoint["meta"]["iter"] = 30_000
    torch.save(checkpoint, tmp_path / "iter_30000.pth")
    runner = toy.runner(
        tmp_path,
        max_iters=30_002,
        resume=True,
        load_from=str(tmp_path / "iter_30000.pth"),
    )
    started = time.perf_counter()
    runner.train()
    assert runner.train_dataloader.dataset.num_reads == 2 * 4
    assert time.perf_counter() - started < 5
    assert sorted(runner.recorder.losses) == [30_000, 30_001]


def test_loader_starts_after_the_position_is_known(toy, tmp_path) -> None:
    runner = toy.runner(tmp_path, max_iters=2)
    loop = runner.build_train_loop(runner._train_loop)
    assert loop.dataloader_iterator is None


def test_stock_sampler_falls_back_with_a_warning(toy, tmp_path) -> None:
    settings = dict(sampler=dict(type="InfiniteSampler"), max_iters=4, save_interval=2)
    toy.runner(tmp_path, **settings).train()
    checkpoint = str(tmp_path / "iter_2.pth")
    runner = toy.runner(tmp_path, resume=True, load_from=checkpoint, **settings)
    runner.train()
    can_skip = hasattr(InfiniteSampler, "skip")  # in the OneDL fork
    assert runner.train_dataloader.dataset.num_reads == (2 if can_skip else 4) * 4
    warned = any("InfiniteSampler" in x and "MultiSourceSampler" in x for x in runner.log.lines)
    assert warned != can_skip


def test_load_from_starts_afresh(toy, tmp_path) -> None:
    """Only the weights come from the checkpoint: neither position nor random states."""
    toy.runner(tmp_path, max_iters=4, save_interval=2).train()
    first = DrawNumbers()
    toy.runner(tmp_path / "a", max_iters=2, hooks=(first,)).train()
    loaded = DrawNumbers()
    runner = toy.runner(
        tmp_path / "b", max_iters=2, hooks=(loaded,), load_from=str(tmp_path / "iter_4.pth")
    )
    runner.train()
    assert sorted(runner.recorder.losses) == [0, 1]
    assert loaded.numbers == first.numbers


def test_resume_at_the_end_repeats_the_final_validation(toy, tmp_path) -> None:
    settings = dict(max_iters=4, save_interval=2, val_interval=2)
    straight = toy.runner(tmp_path, **settings)
    straight.train()
    resumed = toy.runner(tmp_path, resume=True, **settings)
    resumed.train()
    assert not resumed.recorder.losses
    assert resumed.recorder.metrics == {4: straight.recorder.metrics[4]}


def test_batch_size_must_fit_the_counts(toy, tmp_path) -> None:
    runner = toy.runner(tmp_path, batch_size=5)
    with pytest.raises(ValueError, match="batch_size=5.*adds up to 4.*labeled: 2.*batch_size=4"):
        runner.train()


def test_epoch_length_is_refused(toy, tmp_path) -> None:
    counts = dict(labeled=2, unlabeled=2)
    sampler = dict(type="MultiSourceSampler", num_per_source=counts, epoch_length=3)
    with pytest.raises(ValueError, match="epoch_length=3 is for epoch-based loops"):
        toy.runner(tmp_path, sampler=sampler).train()


def test_required_hooks_are_registered_once(toy, tmp_path) -> None:
    class Needy(toy.Model):
        def required_hooks(self) -> list[dict]:
            return [dict(type="MeanTeacherHook", priority="HIGH")]

    def teacher_hooks(runner) -> list:
        runner.build_train_loop(runner._train_loop)
        assert sum(isinstance(hook, RandomStateHook) for hook in runner.hooks) == 1
        return [hook for hook in runner.hooks if isinstance(hook, MeanTeacherHook)]

    (added,) = teacher_hooks(toy.runner(tmp_path, model=Needy(), teacher=False))
    assert added.priority == "HIGH"
    (configured,) = teacher_hooks(toy.runner(tmp_path, model=Needy(), teacher=True))
    assert configured.priority == "NORMAL"
    own = HOOKS.build(dict(type="RandomStateHook"))
    teacher_hooks(toy.runner(tmp_path, model=Needy(), hooks=(own,)))


def test_data_is_checked_before_training(toy, tmp_path, monkeypatch) -> None:
    def refuse(train_dataset, val_dataset, *_) -> None:
        raise DataError(f"{len(train_dataset)} and {len(val_dataset)} overlap")

    monkeypatch.setattr("mmsemi.engine.loops.semi_train_loop.check_at_start", refuse)
    runner = toy.runner(tmp_path, val_interval=5)
    with pytest.raises(DataError, match="20 and 5 overlap"):
        runner.train()
    assert not runner.recorder.losses
