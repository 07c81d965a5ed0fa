# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import pytest
import torch
from mmengine.hooks import Hook

from mmsemi.engine.hooks import InvalidLossHook
from mmsemi.errors import ConfigError, TrainingError


def test_stops_at_once_and_names_what_is_needed(toy, tmp_path) -> None:
    """The third iteration has a NaN: nothing is written although each iteration is saved."""
    seen = []

    class Paths(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            seen[:] = [f"{s.img_path} ({s.source})" for s in data_batch["data_samples"]]

    model = toy.Model()
    model.poison_at = 2
    runner = toy.runner(tmp_path, save_interval=1, model=model, hooks=(InvalidLossHook(), Paths()))
    with pytest.raises(TrainingError) as error:
        runner.train()
    message = str(error.value)
    assert "iteration 3" in message
    assert "loss_unsup=nan" in message and "loss=nan" in message and "loss_sup" not in message
    assert ", ".join(seen) in message and "\n" not in message
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["iter_1.pth", "iter_2.pth"]
    teacher = runner.model.teacher.state_dict()
    assert all(value.isfinite().all() for value in teacher.values())


@pytest.mark.parametrize(
    ("poison_at", "save_interval", "val_interval", "stops_at"),
    [(1, 100, None, 5), (1, 3, None, 3), (1, 100, 2, 2), (9, 100, None, 10)],
    ids=["interval", "checkpoint", "validation", "end"],
)
def test_interval_never_lets_a_checkpoint_pass(
    toy, tmp_path, poison_at, save_interval, val_interval, stops_at
) -> None:
    """Only every fifth iteration is checked, and those after which something may be written."""
    model = toy.Model()
    model.poison_at = poison_at
    runner = toy.runner(
        tmp_path,
        max_iters=10,
        model=model,
        save_interval=save_interval,
        val_interval=val_interval,
        hooks=(InvalidLossHook(interval=5),),
    )
    with pytest.raises(TrainingError, match=f"iteration {stops_at}:"):
        runner.train()
    assert not list(tmp_path.glob("*.pth"))


def test_weights_that_are_not_finite_are_never_written(toy, tmp_path) -> None:
    """A finite loss may have an infinite gradient."""

    class Overflow(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            if runner.iter == 3:
                with torch.no_grad():
                    runner.model.student[0].weight[0, 0] = float("inf")

    runner = toy.runner(tmp_path, save_interval=2, hooks=(InvalidLossHook(), Overflow()))
    with pytest.raises(TrainingError, match="'student.0.weight' .*iteration 4"):
        runner.train()
    assert [path.name for path in tmp_path.glob("*.pth*")] == ["iter_2.pth"]
    assert (tmp_path / "last_checkpoint").read_text().endswith("iter_2.pth")


def test_infinite_buffers_are_allowed(toy, tmp_path) -> None:
    """Attention masks are full of them."""
    model = toy.Model()
    model.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    toy.runner(tmp_path, max_iters=2, model=model, hooks=(InvalidLossHook(),)).train()
    assert (tmp_path / "iter_2.pth").exists()


def test_another_process_stops_this_one(toy, tmp_path, monkeypatch) -> None:
    """Process 1 sees a finite loss, process 0 did not: both stop with the report of process 0."""
    report = "loss=nan; images of the batch of process 0: /data/7.png"
    module = "mmsemi.engine.hooks.invalid_loss_hook"
    monkeypatch.setattr(f"{module}.all_reduce", lambda found, op: found.fill_(1))
    monkeypatch.setattr(f"{module}.all_gather_object", lambda own: [report, own])
    with pytest.raises(TrainingError, match="iteration 1: loss=nan.*process 0: /data/7.png"):
        toy.runner(tmp_path, hooks=(InvalidLossHook(),)).train()


def test_plain_numbers_and_batches_without_paths() -> None:
    class Runner:
        iter, max_iters, val_loop, hooks = 0, 5, None, ()

    hook = InvalidLossHook()
    hook.after_train_iter(Runner, 0, None, dict(loss=1.0, accuracy=float("nan")))
    hook.after_train_iter(Runner, 0, None, None)
    with pytest.raises(TrainingError, match="decode.loss_ce=inf.*unknown"):
        hook.after_train_iter(Runner, 0, [], {"decode.loss_ce": float("inf")})


def test_bad_interval() -> None:
    with pytest.raises(ConfigError, match="interval=0"):
        InvalidLossHook(interval=0)
