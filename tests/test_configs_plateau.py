# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The configs of docs/adversarial_walkthrough.md: their files fit together, and the commands run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from config_files import CONFIGS, read, validation_interval
from mmseg.registry import HOOKS, METRICS

REPOSITORY = CONFIGS.parent
WALKTHROUGH = REPOSITORY / "docs" / "adversarial_walkthrough.md"
NAMES = [f"advsemiseg/shapes_plateau_{kind}" for kind in ("baseline", "adversarial", "semi")]


@pytest.mark.parametrize("name", NAMES)
def test_schedule_and_stopping_follow_what_is_measured(name):
    config = read(name)
    (schedule,), (stop,) = config.param_scheduler, config.custom_hooks
    assert (schedule.type, schedule.factor) == ("ReduceOnPlateauLR", 0.5)
    assert schedule.monitor == stop.monitor == "val_loss" and schedule.rule == stop.rule == "less"
    assert schedule.patience < stop.patience, "the rate is halved before the run gives up"
    HOOKS.build(stop)
    metrics = [METRICS.build(metric) for metric in config.val_evaluator]
    assert [type(metric).__name__ for metric in metrics] == ["ClassIoUMetric", "SegmentationLoss"]
    # Checkpoints follow the validations, else a resumed run would go back behind one that counted.
    assert "interval" not in config.default_hooks.checkpoint
    assert validation_interval(config) == 100


def test_the_modes_build_on_each_other():
    baseline, adversarial, semi = map(read, NAMES)
    assert baseline.model.type == "Supervised"
    assert adversarial.train_dataloader == baseline.train_dataloader, "both have all masks"
    assert baseline.train_dataloader.dataset.split.ratio == 1
    counts = semi.train_dataloader.sampler.num_per_source
    assert (counts.labeled, counts.unlabeled) == (8, 8)
    few = read("supervised/shapes_1-8").train_dataloader.dataset.split
    assert semi.train_dataloader.dataset.split == few
    own = ("unsup_start", "unsup_adv_weight", "judge_unlabeled")
    for config in (adversarial, semi):
        # The discriminator takes part from the start, and it never judges an unlabelled map.
        assert [config.model[key] for key in own] == [0, 0, False]
    semi.model.segmentor.pop("init_cfg")
    assert semi.model.segmentor == baseline.model.segmentor


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_pretrained_file_is_the_one_that_the_commands_write(name):
    file = read(name).model.segmentor.init_cfg.checkpoint
    folder = file.removesuffix("/export/weights.pth")
    assert file != folder
    assert read(name).load_from is None, "a later --resume would resume from it"
    text = WALKTHROUGH.read_text()
    assert folder in text and f"configs/{name}.py" in text


@pytest.mark.slow
def test_the_walkthrough_runs(tmp_path: Path):
    """A pre-trained generator, its export, the semi-supervised run, and its resumption."""

    def run(tool: str, *arguments: object) -> str:
        command = [sys.executable, str(REPOSITORY / "tools" / f"{tool}.py"), *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout + done.stderr

    short = (
        "val_dataloader.dataset.indices=4",
        "train_dataloader.num_workers=0",
        "train_dataloader.persistent_workers=False",
        "train_cfg.num_validations=1",
        "train_dataloader.dataset.split.ratio=1/8",
    )
    base = tmp_path / "base"
    config = REPOSITORY / f"configs/{NAMES[0]}.py"
    run("train", config, "--work-dir", base, "--cfg-options", *short, "train_cfg.max_iters=2")
    run("export_segmentor", base / "best_mIoU_iter_2.pth", base / "export")
    settings = (*short, f"model.segmentor.init_cfg.checkpoint={base / 'export' / 'weights.pth'}")
    semi = (REPOSITORY / f"configs/{NAMES[2]}.py", "--work-dir", tmp_path / "semi")
    text = run("train", *semi, "--cfg-options", *settings, "train_cfg.max_iters=2")
    assert f"path: {base / 'export' / 'weights.pth'}" in text and "2 optimisers" in text
    text = run("train", *semi, "--resume", "--cfg-options", *settings, "train_cfg.max_iters=4")
    assert "resumed epoch: 0, iter: 2" in text and "val_loss: " in text
