# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Each finding comes of a run of its own, none of a healthy one, and training is not touched."""

from __future__ import annotations

import copy
import itertools
import json
import logging
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from method_tester import build_runner
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS
from step_runner import CLASSES, SIZE, NoiseImages, StepRunner, draw_batches
from tiny_nets import FCN
from torch import nn
from watchers import differing, snapshot

from mmsemi.engine.hooks import DiagnosisHook
from mmsemi.errors import ConfigError
from mmsemi.models.batch_norm import batch_norms

KEYS = {"step", "name", "text", "setting", "guide"}
_numbers = itertools.count()


@DATASETS.register_module(force=True)
class DiagnosedImages(NoiseImages):
    """Bands of the classes, each of its brightness; without draws, three images for a validation.

    Args:
        is_empty: All masks are background.
        is_val: Without draws.
    """

    def __init__(self, is_empty: bool = False, is_val: bool = False) -> None:
        super().__init__()
        self.is_empty, self.is_val = is_empty, is_val

    def __len__(self) -> int:
        return 3 if self.is_val else super().__len__()

    def __getitem__(self, draw) -> dict:
        if self.is_val:
            draw = SimpleNamespace(index=draw, seed=draw)
        item = super().__getitem__(draw)
        generator = torch.Generator().manual_seed(draw.seed)
        shape = tuple(item["inputs"].shape[1:])
        bands = torch.randperm(len(CLASSES), generator=generator).repeat_interleave(11)[:SIZE]
        mask = bands.expand(1, *shape)
        noise = torch.randint(30, (3, *shape), generator=generator)
        item["inputs"] = (80 * mask + noise).to(torch.uint8)
        if "gt_sem_seg" in item["data_samples"]:
            item["data_samples"].gt_sem_seg.data = (0 * mask if self.is_empty else mask).clone()
        item["data_samples"].set_metainfo(dict(ori_shape=shape, img_shape=shape))
        return item


class At(Hook):
    """Calls a function of the runner when a training begins, or before the hooks of each iteration."""

    priority = "HIGH"

    def __init__(self, start=None, each=None) -> None:
        self.start, self.each = start, each

    def before_train(self, runner) -> None:
        if self.start:
            self.start(runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.each:
            self.each(runner)


def all_networks(runner) -> list[nn.Module]:
    model = runner.model
    return [*model.networks(), *([model.teacher.module] if model.has_teacher else [])]


def sure_of_background(runner) -> None:
    """Every network predicts the first class wherever it looks."""
    for net in all_networks(runner):
        net.decode_head.conv_seg.bias.data[0] += 300


@cache
def learned_weights() -> dict[str, torch.Tensor]:
    """A network that has learned the bands."""
    init_default_scope("mmseg")
    torch.manual_seed(0)
    preprocessor = dict(type="SemiSegDataPreProcessor", size=(SIZE, SIZE), mean=[120.0], std=[60.0])
    model = MODELS.build(
        dict(type="Supervised", segmentor=copy.deepcopy(FCN), data_preprocessor=preprocessor)
    )
    model.init_weights()
    adam = OptimWrapper(torch.optim.Adam(model.parameters(), lr=0.01))
    runner = StepRunner(model, adam)
    for batch in draw_batches(DiagnosedImages(), dict(labeled=4), 100):
        runner.step(batch)
    return model.student.state_dict()


def learn(runner) -> None:
    """Every network begins with what one has learned."""
    for net in all_networks(runner):
        net.load_state_dict(learned_weights())


def spoil_statistics(runner) -> None:
    for norm in batch_norms(runner.model.student):
        norm.running_mean.add_(5)


FIXMATCH = dict(type="FixMatch", mix=dict(type="CutMix"), threshold=0.6)


def run_config(folder: Path, **changes) -> dict:
    number = next(_numbers)
    config = dict(
        default_scope="mmseg",
        model=dict(
            segmentor=copy.deepcopy(FCN),
            data_preprocessor=dict(
                type="SemiSegDataPreProcessor", size=(SIZE, SIZE), mean=[120.0], std=[60.0]
            ),
            **changes.pop("model", FIXMATCH),
        ),
        train_dataloader=dict(
            num_workers=0,
            sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=4)),
            dataset=dict(type="DiagnosedImages", **changes.pop("dataset", {})),
        ),
        val_dataloader=dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type="DefaultSampler", shuffle=False),
            dataset=dict(type="DiagnosedImages", is_val=True),
        ),
        val_evaluator=dict(type="IoUMetric", iou_metrics=["mIoU"]),
        train_cfg=dict(type="SemiIterBasedTrainLoop", max_iters=12, val_interval=6),
        val_cfg=dict(type="TeacherStudentValLoop"),
        default_hooks=dict(
            checkpoint=dict(type="AtomicCheckpointHook", by_epoch=False, interval=5),
            logger=dict(type="LoggerHook", interval=2, log_metric_by_epoch=False),
            batch_norm_gap=dict(type="BatchNormGapHook"),
            diagnosis=dict(
                type="DiagnosisHook",
                **{"patience": 4, "batch_norm_gap": 80.0, **changes.pop("hook", {})},
            ),
        ),
        optim_wrapper=dict(
            type="OptimWrapper",
            optimizer=dict(type="SGD", lr=changes.pop("lr", 0.01), momentum=0.9),
        ),
        visualizer=dict(
            type="SegLocalVisualizer",
            name=f"diagnosis{number}",
            vis_backends=[dict(type="LocalVisBackend")],
        ),
        log_processor=dict(by_epoch=False),
        randomness=dict(seed=1),
        log_level="WARNING",
        work_dir=str(folder / f"run{number}"),
        experiment_name=f"diagnosis{number}",
    )
    return {**config, **changes}


def train(folder: Path, hooks: tuple[Hook, ...] = (), **changes) -> Runner:
    """A run of 12 iterations; ``runner.lines`` are the warnings."""
    runner = build_runner(run_config(folder, **changes))
    for hook in (At(start=learn), *hooks):
        runner.register_hook(hook)
    runner.lines = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: runner.lines.append(record.getMessage())
    runner.logger.addHandler(handler)
    runner.train()
    return runner


def findings(runner: Runner) -> list[dict]:
    path = Path(runner.log_dir) / "vis_data" / "findings.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def names(runner: Runner) -> set[str]:
    return {one["name"] for one in findings(runner)}


def scalars(runner: Runner) -> list[dict]:
    text = (Path(runner.log_dir) / "vis_data" / "scalars.json").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if "pseudo_label/kept" in line]


def check_reports(runner: Runner, name: str) -> dict:
    """The finding is in file, log and summary, once each; gives its line of the file."""
    (report,) = (one for one in findings(runner) if one["name"] == name)
    assert set(report) == KEYS and report["guide"] == f"docs/diagnosis.md#{name}"
    assert report["setting"] and 0 < report["step"] <= 12
    told = [line for line in runner.lines if report["text"] in line]
    assert len(told) == 2 and all(report["setting"] in line for line in told)
    assert all("\n" not in line for line in told)
    assert "since iteration" in told[1] and runner.lines.index(told[1]) > runner.lines.index(
        told[0]
    )
    return report


def test_a_healthy_run_has_none_and_logs_the_shares(tmp_path):
    runner = train(tmp_path)
    assert findings(runner) == [] and not any("diagnosis" in line for line in runner.lines)
    logged = scalars(runner)
    assert [line["step"] for line in logged] == [2, 4, 6, 8, 10, 12]
    for line in logged:
        shares = [line[f"pseudo_label/{name}"] for name in CLASSES]
        assert sum(shares) == pytest.approx(line["pseudo_label/kept"])
        assert 0 < line["pseudo_label/kept"] < 1
    assert runner.model.label_counts is None


def test_classes_without_pseudo_labels(tmp_path):
    runner = train(tmp_path, hooks=(At(start=sure_of_background),), lr=1e-6)
    missing = check_reports(runner, "class-never-labelled")
    assert "'left'" in missing["text"] and "'right'" in missing["text"]
    assert "model.threshold=0.6" in missing["setting"] and missing["step"] == 4
    assert "model.rampup_iters=0" in missing["setting"], "with a threshold, too"
    one = check_reports(runner, "one-class")
    assert "'background'" in one["text"] and "100.0%" in one["text"]
    # It is sure of them, too.
    assert names(runner) == {"class-never-labelled", "one-class", "everything-kept"}


def test_an_equal_teacher(tmp_path):
    runner = train(tmp_path, model=dict(FIXMATCH, momentum=1.0))
    assert "model.momentum=1.0" in check_reports(runner, "teacher-equals-student")["setting"]
    assert names(runner) == {"teacher-equals-student"}


@pytest.mark.parametrize(("threshold", "name"), [(1.0, "nothing-kept"), (0.01, "everything-kept")])
def test_a_threshold_that_decides_nothing(tmp_path, threshold, name):
    runner = train(tmp_path, model=dict(FIXMATCH, threshold=threshold))
    assert f"model.threshold={threshold}" in check_reports(runner, name)["setting"]
    assert names(runner) == {name}


def test_a_method_that_keeps_all_on_purpose(tmp_path):
    runner = train(tmp_path, model=dict(type="CPS"))
    assert all(line["pseudo_label/kept"] == 1 for line in scalars(runner))
    assert "everything-kept" not in names(runner)


def test_a_learning_rate_of_zero(tmp_path):
    schedule = [dict(type="PolyLR", eta_min=0.0, begin=0, end=6, by_epoch=False)]
    runner = train(tmp_path, param_scheduler=schedule)
    assert check_reports(runner, "learning-rate-zero")["step"] == 6
    assert names(runner) == {"learning-rate-zero"}
    schedule[0]["end"] = 12  # it reaches 0 in the last iteration
    assert names(train(tmp_path, param_scheduler=schedule)) == set()


def test_labels_known_by_heart(tmp_path):
    runner = train(
        tmp_path, hooks=(At(start=sure_of_background),), lr=1e-6, dataset=dict(is_empty=True)
    )
    check_reports(runner, "labelled-loss-zero")
    # All labels are background: that the pseudo-labels are, too, is right.
    assert not names(runner) & {"one-class", "class-never-labelled"}


def test_running_statistics_of_other_images(tmp_path):
    runner = train(tmp_path, hooks=(At(each=spoil_statistics),), hook=dict(batch_norm_gap=3.0))
    report = check_reports(runner, "batch-norm-gap")
    assert "'student'" in report["text"] and "backbone_norm_eval" in report["setting"]
    assert report["step"] == 12, "at the second validation"


def test_below_supervised(tmp_path):
    runner = train(tmp_path, hook=dict(baseline=99.5))
    report = check_reports(runner, "below-supervised")
    assert report["step"] == 12, "not before the last quarter"
    assert "99.50" in report["text"] and "by 3 validation images" in report["text"]
    assert "--from" in report["setting"]
    assert names(train(tmp_path, hook=dict(baseline=0.5))) == set()


@pytest.mark.parametrize("method", ["Supervised", "MeanTeacher"])
def test_other_methods(tmp_path, method):
    runner = train(tmp_path, model=dict(type=method))
    assert len(scalars(runner)) == (0 if method == "Supervised" else 6)
    assert findings(runner) == []


def test_training_is_the_same_with_and_without(tmp_path):
    with_it = train(tmp_path)
    config = run_config(tmp_path)
    del config["default_hooks"]["diagnosis"]
    without = build_runner(config)
    without.register_hook(At(start=learn))
    without.train()
    assert not differing(snapshot(with_it.model), snapshot(without.model))


def test_a_resumed_run_neither_repeats_nor_loses_a_finding(tmp_path):
    straight = train(tmp_path, model=dict(FIXMATCH, threshold=1.0), lr=1e-6)
    (found,) = findings(straight)
    assert found["name"] == "nothing-kept" and found["step"] == 4
    resumed = train(
        tmp_path,
        model=dict(FIXMATCH, threshold=1.0),
        lr=1e-6,
        load_from=str(Path(straight.work_dir) / "iter_5.pth"),  # between two logs
        resume=True,
    )
    assert findings(resumed) == []
    ours, theirs = (
        next(hook for hook in runner.hooks if isinstance(hook, DiagnosisHook))
        for runner in (straight, resumed)
    )
    assert ours.ledger.state_dict() == theirs.ledger.state_dict()
    assert ours.shares.labeled == theirs.shares.labeled and ours.shares.kept == theirs.shares.kept
    summary = [line for line in resumed.lines if found["text"] in line]
    assert len(summary) == 1 and "since iteration 4" in summary[0]


def test_a_new_run_from_a_checkpoint_starts_anew(tmp_path):
    straight = train(tmp_path, model=dict(FIXMATCH, threshold=1.0), lr=1e-6)
    fresh = train(tmp_path, load_from=str(Path(straight.work_dir) / "iter_12.pth"))
    assert findings(fresh) == [] and not any("diagnosis" in line for line in fresh.lines)


def train_rank(config: dict) -> tuple[list, bool]:
    """Counts of both processes as the main one has them, and whether this one wrote."""
    runner = build_runner(config)
    runner.train()
    hook = next(one for one in runner.hooks if isinstance(one, DiagnosisHook))
    assert torch.distributed.get_world_size() == 2
    return hook.shares.labeled, hook.ledger.reports


def test_two_processes(gloo_pool, tmp_path):
    model = dict(FIXMATCH, threshold=1.0)
    config = run_config(tmp_path, model=model, lr=1e-6, launcher="pytorch")
    config["default_hooks"]["checkpoint"]["interval"] = 100
    (labeled, reports), (others, nothing) = gloo_pool.run(train_rank, config)
    # 12 iterations of 2 labelled images on each process.
    assert sum(labeled) == sum(others) == 12 * 2 * 2 * SIZE * SIZE
    assert "nothing-kept" in {one["name"] for one in reports} and nothing == []
    (file,) = tmp_path.rglob("findings.jsonl")
    assert len(file.read_text().splitlines()) == len(reports)


@pytest.mark.parametrize(
    "settings",
    [dict(patience=0), dict(dominance=1.2), dict(kept_low=0), dict(margin=-1), dict(loss_low=0)],
)
def test_thresholds_are_checked(settings):
    (name,) = settings
    with pytest.raises(ConfigError, match=f"DiagnosisHook.{name}="):
        DiagnosisHook(**settings)
