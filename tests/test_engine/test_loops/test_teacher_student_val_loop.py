# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The network that predicts reports plain keys, the others theirs; each validation, or some."""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import BaseDataElement

from mmsemi.errors import ConfigError


class ThreeNames:
    """Mix-in: names as CPS has them."""

    network_names = [0, 1, "ensemble"]

    def forward(self, inputs, data_samples=None, mode="tensor"):
        if mode == "loss":
            return super().forward(inputs, data_samples, mode)
        value = {0: 1.0, 1: 3.0, "ensemble": 2.0}[self.predict_on]
        for sample in data_samples:
            sample.set_field(value, "prediction")
        return data_samples


def expected_miou(runner, network) -> float:
    """The metric computed by hand, without noise in the data."""
    data = runner.val_dataloader.dataset.data
    network.eval()
    with torch.no_grad():
        return network(data).mean().item()


@pytest.fixture
def noiseless(toy, monkeypatch):
    """Validation samples without noise, so that metrics can be computed by hand."""
    monkeypatch.setattr(
        toy.Dataset,
        "__getitem__",
        lambda self, index, old=toy.Dataset.__getitem__: {
            **old(self, index),
            "inputs": self.data[getattr(index, "index", index)],
        },
    )


def test_plain_keys_for_predict_on_and_prefixed_keys_for_the_other(
    toy, tmp_path, noiseless
) -> None:
    runner = toy.runner(tmp_path, val_interval=5, model=toy.Model(predict_on="teacher"))
    model = runner.model
    torch.nn.init.constant_(model.teacher.module[-1].bias, 1.0)
    metrics = runner.val()
    assert set(metrics) == {"mIoU", "aAcc", "student/mIoU", "student/aAcc"}
    assert metrics["mIoU"] == pytest.approx(expected_miou(runner, model.teacher), abs=1e-6)
    assert metrics["student/mIoU"] == pytest.approx(expected_miou(runner, model.student), abs=1e-6)
    assert metrics["mIoU"] != metrics["student/mIoU"]
    assert metrics["aAcc"] == metrics["student/aAcc"] == 5  # each sample once per network
    assert model.predict_on == "teacher"
    assert runner.recorder.metrics[0] == metrics
    assert not runner.val_loop.val_loss


def test_the_data_are_read_and_sent_once(toy, tmp_path) -> None:
    """Losses of a validation, too, are those of each network."""
    sent = []

    class Model(toy.Model):
        def forward(self, inputs, data_samples=None, mode="tensor"):
            own = super().forward(inputs, data_samples, mode)
            assert not any("seen_by" in sample for sample in data_samples)
            for sample in data_samples:
                sample.set_field(self.predict_on, "seen_by")
            value = dict(student=1.0, teacher=2.0)[self.predict_on]
            return [*own, BaseDataElement(loss=dict(loss_x=torch.tensor(value)))]

    runner = toy.runner(tmp_path, val_interval=5, model=Model())
    preprocess = runner.model.data_preprocessor.forward
    runner.model.data_preprocessor.forward = lambda *args: sent.append(args) or preprocess(*args)
    for _ in range(2):
        metrics = runner.val()
        assert metrics["loss_x"] == 1 and metrics["teacher/loss_x"] == 2
        assert metrics["aAcc"] == metrics["teacher/aAcc"] == 5
    assert runner.val_dataloader.dataset.num_reads == 10 and len(sent) == 6


def test_interval_counts_validations_and_includes_the_last(toy, tmp_path) -> None:
    settings = dict(max_iters=10, val_interval=2, save_interval=6, val_cfg=dict(interval=3))
    runner = toy.runner(tmp_path, **settings)
    runner.train()
    both = [i for i, metrics in runner.recorder.metrics.items() if "teacher/mIoU" in metrics]
    assert sorted(runner.recorder.metrics) == [2, 4, 6, 8, 10]
    assert both == [6, 10]
    resumed = toy.runner(
        tmp_path / "b", resume=True, load_from=str(tmp_path / "iter_6.pth"), **settings
    )
    resumed.train()
    # That of iteration 6 again: the checkpoint was written before it.
    assert {i: runner.recorder.metrics[i] for i in (6, 8, 10)} == resumed.recorder.metrics


@pytest.mark.parametrize(
    ("also", "keys"),
    [
        (None, {"mIoU": 1.0, "1/mIoU": 3.0, "ensemble/mIoU": 2.0}),
        ([], {"mIoU": 1.0}),
        (["ensemble", 0], {"mIoU": 1.0, "ensemble/mIoU": 2.0}),
    ],
)
def test_also_chooses_the_other_networks(toy, tmp_path, also, keys) -> None:
    class Model(ThreeNames, toy.Model):
        pass

    runner = toy.runner(tmp_path, val_interval=5, model=Model(0), val_cfg=dict(also=also))
    metrics = runner.val()
    assert {key: value for key, value in metrics.items() if "mIoU" in key} == keys


def test_bad_arguments(toy, tmp_path) -> None:
    for settings, culprit in (
        (dict(also=["tutor"]), r"'tutor'.*'student', 'teacher'"),
        (dict(interval=0), "interval=0"),
    ):
        with pytest.raises(ConfigError, match=culprit):
            toy.runner(tmp_path, val_interval=5, val_cfg=settings).val()


def test_predict_on_is_restored_after_an_error(toy, tmp_path) -> None:
    class Broken(toy.Model):
        def forward(self, inputs, data_samples=None, mode="tensor"):
            if self.predict_on == "teacher":
                raise ZeroDivisionError
            return super().forward(inputs, data_samples, mode)

    runner = toy.runner(tmp_path, val_interval=5, model=Broken())
    with pytest.raises(ZeroDivisionError):
        runner.val()
    assert runner.model.predict_on == "student"


def test_iteration_hooks_see_one_network(toy, tmp_path) -> None:
    seen = []

    class Watcher(toy.Recorder):
        def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            seen.append((batch_idx, runner.model.predict_on))

    toy.runner(tmp_path, val_interval=5, hooks=(Watcher(),)).val()
    assert seen == [(0, "student"), (1, "student"), (2, "student")]


def test_a_model_without_names_is_validated_the_stock_way(toy, tmp_path) -> None:
    class Plain(toy.Model):
        network_names: list = []

    runner = toy.runner(tmp_path, val_interval=5, model=Plain())
    assert set(runner.val()) == {"mIoU", "aAcc"}


def test_save_best_works_with_plain_and_prefixed_keys(toy, tmp_path) -> None:
    runner = toy.runner(
        tmp_path,
        max_iters=6,
        val_interval=2,
        val_cfg=dict(interval=2),
        checkpoint=dict(save_best=["mIoU", "teacher/mIoU"], rule="less"),
    )
    runner.train()
    recorded = runner.recorder.metrics
    for key, name in (("mIoU", "mIoU"), ("teacher/mIoU", "teacher_mIoU")):
        scores = {i: metrics[key] for i, metrics in recorded.items() if key in metrics}
        best = min(scores, key=scores.get)
        assert [path.name for path in tmp_path.glob(f"best_{name}_*")] == [
            f"best_{name}_iter_{best}.pth"
        ]
        assert runner.message_hub.get_info(f"best_score_{key}") == scores[best]


def test_details_of_metrics_are_kept_for_each_network(toy, tmp_path, noiseless) -> None:
    runner = toy.runner(tmp_path, val_interval=5, model=toy.Model(predict_on="teacher"))
    torch.nn.init.constant_(runner.model.teacher.module[-1].bias, 1.0)
    (metric, *_) = runner.val_loop.evaluator.metrics
    compute = metric.compute_metrics

    def keep(results):
        metric.details = runner.model.predict_on, len(results), compute(results)
        return metric.details[-1]

    metric.compute_metrics = keep
    metrics = runner.val()
    found = runner.val_loop.details
    assert set(found) == {"teacher", "student"}
    assert found["teacher"][2]["mIoU"] == metrics["mIoU"]
    assert found["student"][2]["mIoU"] == metrics["student/mIoU"] != metrics["mIoU"]
