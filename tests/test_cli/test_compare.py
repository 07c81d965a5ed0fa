# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi compare``: what is run, what is resumed, and the table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from made_runs import finished_run
from mmengine.config import Config

from mmsemi.cli import compare
from mmsemi.cli.compare import Run, explain_failure, main, runs_table
from mmsemi.errors import ConfigError, DataError
from mmsemi.visualization.compare_report import (
    class_table,
    differences,
    read_compared,
    settings_of,
)  # fmt: skip

CONFIGS = [
    "configs/supervised/shapes_1-8.py",
    "configs/fixmatch/shapes_1-8.py",
]
LENGTH = 1200


def end(run: Run, value: float, step: int | None = None) -> None:
    """Leave what a training leaves."""
    folder = run.work_dir / "20260101_000000" / "vis_data"
    folder.mkdir(parents=True)
    step = LENGTH if step is None else step
    (folder / "scalars.json").write_text(json.dumps(dict(mIoU=value, step=step)) + "\n")


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return [
        Run(
            config=config,
            seed=seed,
            work_dir=(
                folder := tmp_path / f"{Path(config).parent.name}_shapes_1-8" / f"seed{seed}"
            ),
            options=[],
            log=folder / "train.log",
            max_iters=LENGTH,
        )
        for config in CONFIGS
        for seed in (0, 1)
    ]


def test_the_table_has_mean_deviation_and_gain(runs):
    for run, value in zip(runs, (50.0, 52.0, 53.0, 57.0)):
        end(run, value)
    lines = runs_table(runs, "mIoU").splitlines()
    assert lines[2].split("|")[2:6] == [" 50.00 ", " 52.00 ", " 51.00 ", " 1.41 "]
    assert lines[3].split("|")[4:7] == [" 55.00 ", " 2.83 ", " +4.00 "]


def test_folds_are_columns(tmp_path, capsys):
    configs = ["supervised/voc_1-106_dst_cbc", "supervised/voc_1-20_dst_cbc"]
    arguments = [*configs, "--folds", "0", "2", "--seeds", "0", "--out", str(tmp_path)]
    runs = compare.plan_runs(compare.parse_args(arguments))
    assert [run.column for run in runs[:2]] == ["fold 0, seed 0", "fold 2, seed 0"]
    assert len({run.work_dir for run in runs}) == len({run.settings for run in runs}) == 4
    assert runs[1].options[1] == "train_dataloader.dataset.split.fold=2"
    for run, value in zip(runs, (45.0, 47.0, 62.0, 64.0)):
        end(run, value, step=run.max_iters)
    assert main([*arguments, "--report-only"]) == 0
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[2].split("|")]
    assert cells[2:6] == ["45.00", "47.00", "46.00", "1.41"]
    for name, folds in ((configs[0], ["7"]), ("supervised/shapes_1-8", ["0"])):
        with pytest.raises(ConfigError, match="fold"):
            compare.plan_runs(compare.parse_args([name, "--folds", *folds]))


def test_only_the_last_validation_counts(runs):
    end(runs[0], 99.0, step=LENGTH - 240)
    assert runs[0].value("mIoU") is None
    row = runs_table(runs[:1], "mIoU").splitlines()[2]
    assert "99" not in row


def test_a_broken_off_run_is_resumed_and_an_ended_one_is_not_repeated(runs, monkeypatch):
    assert "--resume" not in runs[1].command
    end(runs[0], 50.0)
    runs[1].work_dir.mkdir(parents=True)
    (runs[1].work_dir / "last_checkpoint").write_text("iter_240.pth")
    assert "--resume" in runs[1].command
    started = []

    class Train(Run):
        @property
        def command(self):
            if self.seed not in started:
                started.append(self.seed)
                end(self, 51.0)
            return [sys.executable, "-c", "pass"]

    pair = [Train(**vars(run)) for run in runs[:2]]
    assert compare.train_all(pair, "mIoU", jobs=2, threads=1) == []
    assert started == [1]


def test_a_failed_training_is_named_and_fails_the_tool(tmp_path, monkeypatch, capsys):
    command = property(lambda run: [sys.executable, "-c", "raise SystemExit(3)"])
    monkeypatch.setattr(Run, "command", command)
    assert main([CONFIGS[0], "--seeds", "7", "--out", str(tmp_path)]) == 1
    assert f"{tmp_path / 'supervised_shapes_1-8' / 'seed7'} failed" in capsys.readouterr().out


def test_a_run_with_other_settings_is_not_taken_for_this_one(tmp_path, monkeypatch, capsys):
    command = property(lambda run: [sys.executable, "-c", "pass"])
    monkeypatch.setattr(Run, "command", command)
    base = [CONFIGS[0], "--seeds", "7", "--out", str(tmp_path)]
    option = ["--cfg-options", "train_cfg.max_iters=9"]
    assert main([*base, *option]) == 1  # the command trains nothing, but leaves its settings
    assert main([*base, *option]) == 1
    with pytest.raises(ConfigError, match="seed7"):
        main(base)
    assert main([*base, "--report-only"]) == 0
    assert "other settings than today's" in capsys.readouterr().err


def test_a_config_that_is_fused_in_its_test_alone_is_refused():
    """The log of its training has the plain mIoU only, which is another row of the paper."""
    plain, fused = dict(type="IoUMetric"), dict(type="mmseg.GatedIoUMetric")
    both = [plain, fused]
    prefix = compare.fused_prefix
    assert prefix(Config(dict(val_evaluator=both, test_evaluator=both))) == "fused/"
    assert prefix(Config(dict(val_evaluator=plain, test_evaluator=plain))) == ""
    with pytest.raises(ConfigError, match="val_evaluator = test_evaluator"):
        prefix(Config(dict(val_evaluator=plain, test_evaluator=fused)))


FUSED = "configs/s4gan/shapes_1-8_fused.py"


def test_a_fused_config_needs_its_score_table_at_the_start(tmp_path):
    out, table = tmp_path / "out", tmp_path / "none.npz"
    options = ["--cfg-options", f"gate.scores={table}"]
    with pytest.raises(DataError, match=r"none\.npz.*mmsemi train configs/mlmt/shapes_1-8\.py"):
        main([CONFIGS[0], FUSED, "--out", str(out), *options])
    assert not out.exists()
    with pytest.raises(ConfigError, match=r"gate\.scores"):  # none of them is fused
        main([*CONFIGS, "--out", str(out), *options])


def test_the_value_of_a_fused_run_is_the_fused_one(tmp_path, capsys):
    """Never the plain one beside it, and without it the run has failed."""
    arguments = [FUSED, "--seeds", "0", "1", "--out", str(tmp_path), "--report-only"]
    for seed, fused in enumerate((60.0, None)):
        folder = (
            tmp_path / "s4gan_shapes_1-8_fused" / f"seed{seed}" / "20260101_000000" / "vis_data"
        )
        folder.mkdir(parents=True)
        record = {"mIoU": 50.0, "step": LENGTH, **({"fused/mIoU": fused} if fused else {})}
        (folder / "scalars.json").write_text(json.dumps(record) + "\n")
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert "seed1 has no metric fused/mIoU" in printed.err and "seed0" not in printed.err
    results = json.loads((tmp_path / "results.json").read_text())
    found = [(one["metric"], one["value"]) for one in results]
    assert found == [("fused/mIoU", 60.0), ("fused/mIoU", None)]
    assert "| 60.00 |" in printed.out and "50.00" not in printed.out


def test_why_a_finished_training_has_no_value(runs):
    run = runs[0]
    assert str(run.log) in explain_failure(run, "mIoU")
    end(run, 50.0)
    assert "IoU" in explain_failure(run, "IoU") and "mIoU, step" in explain_failure(run, "IoU")


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["--jobs", "0"], "--jobs 0"),
        (["--cfg-options", "train_cfg.max_iters"], "train_cfg.max_iters"),
        (["--cfg-options", "train_cfgs.max_iters=1"], "'train_cfgs'"),
        (["--cfg-options", "train_cfg.max_iters=many"], "train_cfg.max_iters=many"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(tmp_path, arguments, culprit):
    with pytest.raises(ConfigError, match=culprit):
        main([CONFIGS[0], "--out", str(tmp_path / "new"), *arguments])
    assert not (tmp_path / "new").exists()


def test_the_recorded_command_starts_anew(tmp_path):
    folder = tmp_path / "supervised_shapes_1-8" / "seed7"
    folder.mkdir(parents=True)
    (folder / "last_checkpoint").touch()
    assert main([CONFIGS[0], "--seeds", "7", "--out", str(tmp_path), "--report-only"]) == 0
    command = json.loads((tmp_path / "results.json").read_text())[0]["command"]
    assert command.startswith(f"mmsemi train {CONFIGS[0]} ") and "--resume" not in command


def test_report_only_starts_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare, "train_all", lambda *_: pytest.fail("started a training"))
    assert main([*CONFIGS, "--out", str(tmp_path), "--report-only"]) == 0
    assert (tmp_path / "table.md").read_text().strip() in capsys.readouterr().out


# --- Work dirs ------------------------------------------------------------------------------------


def test_work_dirs_are_compared_without_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare, "run_trainings", lambda *_: pytest.fail("started a training"))
    finished_run(tmp_path / "runs" / "a", 60.0)
    finished_run(
        tmp_path / "runs" / "b", 64.5, threshold=0.8, info=dict(seed=8),
        findings=[dict(step=3, name="one-class", text="all background", setting="x", guide="y")],
    )  # fmt: skip
    folders = [str(tmp_path / "runs" / name) for name in "ab"]
    assert main([*folders, "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:4]]
    assert rows[0] == ["run", "iterations", "mIoU", "gain", "background", "cat"]
    assert rows[2] == ["a", "40", "60.00", "", "70.00", "50.00"]
    assert rows[3] == ["b", "40", "64.50", "+4.50", "79.00", "50.00"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "all background" in page and "model.threshold" in page
    assert (tmp_path / "out" / "table.md").read_text().splitlines() == lines[:4]


def test_the_page_overlays_curves_and_shows_the_settings_that_differ(tmp_path):
    for name, changes in (("a", {}), ("b", dict(threshold=0.8))):
        finished_run(tmp_path / name, **changes)
    compared = read_compared([tmp_path / "a", tmp_path / "b"], "student/mIoU")
    assert [(one.name, one.steps, one.values) for one in compared] == [
        ("a", [20, 40], [49.0, 59.0]), ("b", [20, 40], [49.0, 59.0]),
    ]  # fmt: skip
    settings = [(one.name, settings_of(one.run)) for one in compared]
    assert settings[0][1]["train_cfg.max_iters"] == 40
    assert differences(settings) == [("model.threshold", ["0.95", "0.8"])]
    assert differences(settings[:1] * 2) == []
    table = class_table(compared)[0]
    assert table.head == ["", "a", "b", "b - a"]
    assert [cell.text for cell in table.rows[1]] == ["cat", "50.00", "50.00", "+0.00"]


def test_configs_get_the_page_too(runs, tmp_path):
    for run, value in zip(runs[:2], (50.0, 52.0)):
        end(run, value)
    assert main([CONFIGS[0], "--seeds", "0", "1", "--out", str(tmp_path), "--report-only"]) == 0
    page = (tmp_path / "report.html").read_text()
    assert f"{CONFIGS[0]} seed 1" in page and "52.00" in page


@pytest.mark.parametrize(
    ("arguments", "kind", "culprit"),
    [
        (["{}/a", "{}/empty"], DataError, "empty"),
        (["{}"], DataError, "give .*/a"),
        (["{}/a", CONFIGS[0]], ConfigError, "supervised/shapes_1-8"),
        (["{}/a", "{}/none"], ConfigError, "none"),
        (["{}/a", "{}/a"], ConfigError, "twice"),
        (["{}/a", "--seeds", "1"], ConfigError, "--seeds"),
        (["{}/a", "--cfg-options", "x=1"], ConfigError, "--cfg-options"),
        (["{}/a", "--metric", "mDice"], ConfigError, "mDice.*student/mIoU"),
    ],
)
def test_wrong_folders_are_one_line(tmp_path, arguments, kind, culprit):
    finished_run(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    given = [one.format(tmp_path) for one in arguments]
    with pytest.raises(kind, match=culprit) as error:
        main([*given, "--out", str(tmp_path / "out")])
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
