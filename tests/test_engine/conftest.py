# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A toy student-teacher model, data set and runner: stock mmengine, milliseconds per iteration."""

from __future__ import annotations

import itertools
import logging
from contextlib import contextmanager

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils.data import Dataset

from mmsemi.datasets import Draw
from mmsemi.models import EMATeacher

NUM_FEATURES = 6


def make_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(NUM_FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1)
    )


class ToyModel(BaseModel):
    """Regression with dropout and batch norm; the teacher's output is part of the loss.

    Args:
        predict_on: The network that predicts.
        teacher: Arguments of :class:`EMATeacher`.
    """

    network_names = ["student", "teacher"]

    def __init__(self, predict_on: str = "student", **teacher) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.student = make_network()
        self.teacher = EMATeacher(self.student, **{"momentum": 0.1, "warmup": True, **teacher})
        self.predict_on = predict_on
        self.poison_at: int | None = None
        self.calls = 0

    @contextmanager
    def predicting_on(self, name: str):
        before, self.predict_on = self.predict_on, name
        try:
            yield
        finally:
            self.predict_on = before

    def forward(self, inputs, data_samples=None, mode: str = "tensor"):
        x = torch.stack(list(inputs))
        if mode == "loss":
            self.calls += 1
            prediction = self.student(x)[:, 0]
            with torch.no_grad():
                target = self.teacher(x)[:, 0]
            losses = dict(
                loss_sup=(prediction - x.sum(1)).square().mean(),
                loss_unsup=(prediction - target).square().mean(),
                mean_target=target.mean(),
            )
            if self.calls - 1 == self.poison_at:
                losses["loss_unsup"] = losses["loss_unsup"] * float("nan")
            return losses
        network = getattr(self, self.predict_on)
        for sample, value in zip(data_samples, network(x)[:, 0]):
            sample.set_field(value, "prediction")
        return data_samples


class ToyDataset(Dataset):
    """Vectors with additive noise; noise from the draw's seed, or from the global generator."""

    def __init__(self, size: int = 20, labeled: int = 8) -> None:
        self.source_ranges = dict(labeled=range(labeled), unlabeled=range(labeled, size))
        self.data = torch.randn(size, NUM_FEATURES, generator=torch.Generator().manual_seed(0))
        self.num_reads = 0

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, item):
        self.num_reads += 1
        index = item
        if isinstance(item, Draw):
            index = item.index
            noise = torch.randn(NUM_FEATURES, generator=torch.Generator().manual_seed(item.seed))
        else:
            noise = torch.randn(NUM_FEATURES)
        source = "labeled" if index in self.source_ranges["labeled"] else "unlabeled"
        sample = SegDataSample(metainfo=dict(img_path=f"/data/{index}.png", source=source))
        return dict(inputs=self.data[index] + 0.1 * noise, data_samples=sample)


class ToyMetric(BaseMetric):
    """``mIoU`` is the mean prediction, or the next number of a script."""

    def __init__(self, script: list[float] | None = None) -> None:
        super().__init__()
        self.script = script

    def process(self, data_batch, data_samples) -> None:
        self.results += [float(sample["prediction"]) for sample in data_samples]

    def compute_metrics(self, results: list) -> dict:
        if self.script is not None:
            return dict(mIoU=self.script.pop(0))
        return dict(mIoU=sum(results) / len(results), aAcc=float(len(results)))


class Recorder(Hook):
    """Keeps the losses of each iteration, the metrics of each validation, and the log."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.losses: dict[int, float] = {}
        self.metrics: dict[int, dict] = {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.losses[runner.iter] = outputs["loss"].item()

    def after_val_epoch(self, runner, metrics=None) -> None:
        self.metrics[runner.iter] = dict(metrics)


class LogLines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


_counter = itertools.count()


@pytest.fixture
def toy(monkeypatch):
    """The toy classes."""
    # Both start programs (compiler, git) at each call; nothing here looks at them.
    monkeypatch.setattr(Runner, "_log_env", lambda self, env_cfg: None)
    monkeypatch.setattr("mmengine.runner.runner.get_git_hash", lambda: "")

    class Toy:
        Model, Dataset, Metric, Recorder = ToyModel, ToyDataset, ToyMetric, Recorder

        @staticmethod
        def runner(
            work_dir,
            max_iters: int = 20,
            save_interval: int = 10,
            val_interval: int | None = None,
            num_workers: int = 0,
            hooks: tuple = (),
            teacher: bool = True,
            accumulate: int = 1,
            seed: int | None = 3,
            **changes,
        ) -> Runner:
            """A runner with momentum SGD, a schedule, and mmsemi's loops and hooks."""
            train_dataloader = dict(
                dataset=ToyDataset(),
                sampler=changes.pop("sampler", None)
                or dict(type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=2)),
                batch_size=changes.pop("batch_size", 4),
                num_workers=num_workers,
                persistent_workers=num_workers > 0,
            )
            checkpoint = dict(
                type="AtomicCheckpointHook", by_epoch=False, interval=save_interval
            ) | changes.pop("checkpoint", {})
            recorder = Recorder()
            hooks = [*hooks, recorder]
            if teacher:
                hooks.append(dict(type="MeanTeacherHook"))
            validation = {}
            if val_interval is not None:
                validation = dict(
                    val_dataloader=dict(
                        dataset=ToyDataset(5),
                        sampler=dict(type="DefaultSampler", shuffle=False),
                        batch_size=2,
                        num_workers=0,
                    ),
                    val_cfg=dict(type="TeacherStudentValLoop") | changes.pop("val_cfg", {}),
                    val_evaluator=changes.pop("val_evaluator", dict(type=ToyMetric)),
                )
            runner = Runner(
                model=changes.pop("model", None) or ToyModel(),
                work_dir=str(work_dir),
                train_dataloader=train_dataloader,
                train_cfg=dict(
                    type=changes.pop("loop", "SemiIterBasedTrainLoop"),
                    max_iters=max_iters,
                    val_interval=val_interval or 1000,
                ),
                optim_wrapper=dict(
                    optimizer=dict(type="SGD", lr=0.05, momentum=0.9),
                    accumulative_counts=accumulate,
                ),
                param_scheduler=dict(
                    type="PolyLR", eta_min=0.001, power=0.9, begin=0, end=20, by_epoch=False
                ),
                default_hooks=dict(checkpoint=checkpoint),
                custom_hooks=hooks,
                randomness=dict(seed=seed),
                default_scope="mmseg",
                experiment_name=f"toy{next(_counter)}",
                **validation,
                **changes,
            )
            runner.recorder = recorder
            runner.log = LogLines()
            runner.logger.addHandler(runner.log)
            return runner

    return Toy
