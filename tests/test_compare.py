# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""tools/compare.py: what is run, what is resumed, and the table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mmsemi import compare
from mmsemi.compare import Run, format_table, main

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
            config,
            seed,
            tmp_path / f"{Path(config).parent.name}_shapes_1-8" / f"seed{seed}",
            LENGTH,
        )
        for config in CONFIGS
        for seed in (0, 1)
    ]


def test_the_table_has_mean_deviation_and_gain(runs):
    for run, value in zip(runs, (50.0, 52.0, 53.0, 57.0)):
        end(run, value)
    lines = format_table(runs, "mIoU").splitlines()
    assert lines[2].split("|")[2:6] == [" 50.00 ", " 52.00 ", " 51.00 ", " 1.41 "]
    assert lines[3].split("|")[4:7] == [" 55.00 ", " 2.83 ", " +4.00 "]


def test_only_the_last_validation_counts(runs):
    end(runs[0], 99.0, step=LENGTH - 240)
    assert runs[0].value("mIoU") is None
    row = format_table(runs[:1], "mIoU").splitlines()[2]
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


def test_a_wrong_config_is_one_line(capsys):
    assert main(["configs/none.py"]) == 2
    assert "none.py" in capsys.readouterr().err


def test_report_only_starts_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare, "train_all", lambda *_: pytest.fail("started a training"))
    assert main([*CONFIGS, "--out", str(tmp_path), "--report-only"]) == 0
    assert (tmp_path / "table.md").read_text().strip() in capsys.readouterr().out
