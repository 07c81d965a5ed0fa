# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A training that follows its validation loss: rates halve, it stops, and it resumes exactly."""

from __future__ import annotations

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from torch import nn

from mmsemi.errors import ConfigError

# Better until iteration 4, then never again.
LOSSES = {2: 1.0, 4: 0.9}
PATIENCE = 4
STOP_AT = 4 + 2 * PATIENCE


class ScriptedLoss(BaseMetric):
    """``val_loss`` by the iteration, so that a resumed run sees what an undisturbed one sees."""

    def process(self, data_batch, data_samples) -> None:
        self.results += [0.0] * len(data_samples)

    def compute_metrics(self, results: list) -> dict:
        iteration = MessageHub.get_current_instance().get_info("iter") + 1
        return dict(val_loss=LOSSES.get(iteration, 0.95), mIoU=float(iteration))


class Rates(Hook):
    """Learning rates of the iterations."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[float, float]] = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        rates = runner.optim_wrapper.get_lr()
        self.seen[runner.iter] = (rates["segmentor.lr"][0], rates["critic.lr"][0])


@pytest.fixture
def make_runner(toy, tmp_path):
    class WithCritic(toy.Model):
        def __init__(self) -> None:
            super().__init__()
            with torch.random.fork_rng():
                torch.manual_seed(2)
                self.critic = nn.Linear(1, 1)

        def forward(self, inputs, data_samples=None, mode: str = "tensor"):
            results = super().forward(inputs, data_samples, mode)
            if mode == "loss":
                prediction = self.student(torch.stack(list(inputs)))
                results["loss_d"] = self.critic(prediction.detach()).square().mean()
            return results

    def make(
        max_iters: int = 20,
        patience: int = PATIENCE,
        stopping_threshold: float | None = None,
        **settings,
    ) -> Runner:
        rates = Rates()
        stop = dict(
            type="ResumableEarlyStoppingHook",
            monitor=settings.pop("monitor", "val_loss"),
            rule="less",
            min_delta=0.0,
            patience=patience,
            stopping_threshold=stopping_threshold,
        )
        apart = settings.pop("apart", True)
        runner = toy.runner(
            settings.pop("work_dir", tmp_path),
            max_iters=max_iters,
            save_interval=2,
            val_interval=2,
            val_cfg=dict(also=[]),
            val_evaluator=dict(type=ScriptedLoss),
            hooks=(rates, stop),
            model=WithCritic(),
            **settings,
        )
        # Configs until train() builds them.
        runner.optim_wrapper = dict(
            type="OptimWrapper",
            constructor="JointOptimWrapperConstructor",
            optimizer=dict(type="SGD", lr=0.04, momentum=0.9),
            critic=dict(optimizer=dict(type="Adam", lr=0.01)),
        )
        halve = dict(
            type="ReduceOnPlateauLR", monitor="val_loss", rule="less", factor=0.5, patience=1
        )
        runner.param_schedulers = (
            dict(segmentor=[dict(halve)], critic=[dict(halve)]) if apart else [dict(halve)]
        )
        runner.rates = rates
        return runner

    return make


@pytest.mark.parametrize("apart", [True, False])
def test_rates_halve_and_the_run_stops(make_runner, apart) -> None:
    """Two validations without progress halve both rates, at 8 and at 12; four end the run.

    The schedule is given for each optimiser, or once for all.
    """
    runner = make_runner(apart=apart)
    runner.train()
    assert runner.iter == STOP_AT
    expected = {i: (0.04, 0.01) if i < 8 else (0.02, 0.005) for i in range(STOP_AT)}
    assert runner.rates.seen == expected
    assert runner.optim_wrapper.get_lr()["critic.lr"] == [pytest.approx(0.0025)]


@pytest.mark.parametrize("cut", [6, 8, 10])
@pytest.mark.parametrize("save_best", [None, "mIoU"])
def test_a_resumed_run_goes_on_as_if_uninterrupted(make_runner, tmp_path, cut, save_best) -> None:
    """Also right after a validation, whose outcome the checkpoint of its iteration must know."""
    checkpoint = dict(save_best=save_best, rule="greater") if save_best else {}
    whole = make_runner(work_dir=tmp_path / "whole", checkpoint=dict(checkpoint))
    whole.train()
    first = make_runner(cut, work_dir=tmp_path / "cut", checkpoint=dict(checkpoint))
    first.train()
    second = make_runner(work_dir=tmp_path / "cut", checkpoint=dict(checkpoint), resume=True)
    second.train()
    assert second.iter == STOP_AT and min(second.rates.seen) == cut
    assert {**first.rates.seen, **second.rates.seen} == whole.rates.seen
    assert {**first.recorder.losses, **second.recorder.losses} == whole.recorder.losses
    for left, right in zip(whole.model.parameters(), second.model.parameters()):
        assert torch.equal(left, right)


def test_a_stopped_run_stays_stopped_unless_patience_grows(make_runner) -> None:
    make_runner().train()
    again = make_runner(resume=True)
    again.train()
    assert again.iter == STOP_AT and not again.recorder.losses
    assert any("stopped early after 4 validations" in line for line in again.log.lines)
    longer = make_runner(patience=PATIENCE + 1, resume=True)
    longer.train()
    assert longer.iter == STOP_AT + 2


def test_a_run_that_was_good_enough_stays_stopped_unless_the_threshold_moves(make_runner) -> None:
    make_runner(stopping_threshold=0.91).train()
    again = make_runner(stopping_threshold=0.91, resume=True)
    again.train()
    assert again.iter == 4 and not again.recorder.losses
    assert any("stopped early with val_loss 0.9:" in line for line in again.log.lines)
    further = make_runner(6, stopping_threshold=0.5, resume=True)
    further.train()
    assert further.iter == 6


def test_a_new_run_from_stopped_weights_starts_afresh(make_runner, tmp_path) -> None:
    make_runner().train()
    weights = str(tmp_path / f"iter_{STOP_AT}.pth")
    runner = make_runner(4, work_dir=tmp_path / "new", load_from=weights)
    runner.train()
    assert runner.iter == 4
    assert runner.message_hub.get_info("early_stopping") == dict(best_score=0.9, wait_count=0)


def test_a_monitor_that_nothing_computes_is_an_error(make_runner) -> None:
    runner = make_runner(monitor="loss_val")
    with pytest.raises(ConfigError, match="'loss_val'.* val_loss, mIoU"):
        runner.train()


def test_a_schedule_whose_metric_nothing_computes_is_an_error(make_runner) -> None:
    runner = make_runner()
    runner.param_schedulers["segmentor"][0]["monitor"] = "loss_val"
    with pytest.raises(ConfigError, match="ReduceOnPlateauLR .*'loss_val'.* val_loss, mIoU"):
        runner.train()


class Killed(BaseException):
    """Stands for ``kill -9``."""


@pytest.mark.parametrize("cut", [6, 10])
def test_a_validation_that_was_cut_off_is_made_up_for(
    make_runner, tmp_path, monkeypatch, cut
) -> None:
    """The checkpoint of its iteration is older; without it a rate would fall too late."""
    whole = make_runner(work_dir=tmp_path / "whole")
    whole.train()
    first = make_runner(work_dir=tmp_path / "cut")

    def kill(self, results: list) -> dict:
        metrics = compute_metrics(self, results)
        if first.iter == cut:
            raise Killed
        return metrics

    compute_metrics = ScriptedLoss.compute_metrics
    with monkeypatch.context() as patch:
        patch.setattr(ScriptedLoss, "compute_metrics", kill)
        with pytest.raises(Killed):
            first.train()
    second = make_runner(work_dir=tmp_path / "cut", resume=True)
    second.train()
    assert min(second.recorder.metrics) == min(second.rates.seen) == cut
    assert {**first.rates.seen, **second.rates.seen} == whole.rates.seen
    assert {**first.recorder.losses, **second.recorder.losses} == whole.recorder.losses
    assert second.message_hub.get_info("early_stopping") == dict(
        best_score=0.9, wait_count=PATIENCE
    )


def test_a_validation_that_counted_is_not_repeated(make_runner) -> None:
    """Neither within the run nor at its end, where other runs repeat theirs."""
    make_runner(6).train()
    ended = make_runner(6, resume=True)
    ended.train()
    assert not ended.recorder.metrics
    assert ended.message_hub.get_info("early_stopping")["wait_count"] == 1
    longer = make_runner(10, resume=True)
    longer.train()
    assert list(longer.recorder.metrics) == [8, 10]
