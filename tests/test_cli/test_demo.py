# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi demo``: its two trainings, with commands that stand in for them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mmsemi.cli import demo
from mmsemi.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(kw_only=True)
class StandIn(demo.Run):
    code: str

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", self.code]


def stand_in(folder: Path, name: str, code: str) -> StandIn:
    paths = dict(work_dir=folder / name, log=folder / f"{name}.log")
    return StandIn(name=name, title=name, config=name, options=[], code=code, **paths)


def test_commands_differ_in_config_and_folder_alone(tmp_path):
    args = demo.parse_args(["--seed", "7", "--out", str(tmp_path), "--max-iters", "4"])
    supervised, cps = (run.command for run in demo.make_runs(args))
    assert supervised[1] == str(REPOSITORY / "tools" / "train.py")
    assert (supervised[2], cps[2]) == ("supervised/shapes_1-8", "cps/shapes_1-8")
    assert supervised[3:5] == ["--work-dir", str(tmp_path / "supervised")]
    assert supervised[5:] == cps[5:]
    assert {"randomness.seed=7", "train_cfg.max_iters=4"} <= set(supervised[6:])


@pytest.mark.parametrize("jobs", [1, 2])
def test_both_trainings_run_with_their_threads(tmp_path, capsys, jobs):
    code = "import os; print('threads', os.environ['OMP_NUM_THREADS'])"
    runs = [stand_in(tmp_path, name, code) for name in demo.RUNS]
    demo.train(runs, jobs=jobs, threads=3, every=0.05)
    assert [run.log.read_text() for run in runs] == ["threads 3\n"] * 2
    assert capsys.readouterr().out.count("done in") == 2


def test_failed_training_stops_the_other_and_shows_its_log(tmp_path):
    code = "import sys; [print('line', i) for i in range(50)]; sys.exit(3)"
    bad = stand_in(tmp_path, "supervised", code)
    other = stand_in(tmp_path, "cps_cutmix", "import time; time.sleep(60)")
    with pytest.raises(demo.RunFailed) as error:
        demo.train([bad, other], jobs=2, threads=1, every=0.05)
    lines = str(error.value).splitlines()
    assert "supervised" in lines[0] and "exit code 3" in lines[0] and str(bad.log) in lines[0]
    assert lines[1:] == [f"line {i}" for i in range(30, 50)]
    assert other.exit_code is not None


def test_main_reports_a_failure_and_leaves_no_old_result(tmp_path, capsys, monkeypatch):
    (tmp_path / "results.json").write_text(json.dumps({"old": True}))
    bad = stand_in(tmp_path, "supervised", "raise SystemExit('no such file')")
    monkeypatch.setattr(demo, "make_runs", lambda args: [bad])
    assert demo.main(["--out", str(tmp_path), "--every", "0.05"]) == 1
    assert "no such file" in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()
    with pytest.raises(ConfigError, match="--jobs 0"):
        demo.main(["--jobs", "0"])


def test_last_checkpoint_survives_a_move(tmp_path):
    run = stand_in(tmp_path, "supervised", "pass")
    with pytest.raises(demo.RunFailed, match="last_checkpoint"):
        run.checkpoint()
    run.work_dir.mkdir()
    (run.work_dir / "iter_5.pth").write_bytes(b"")
    (run.work_dir / "last_checkpoint").write_text("/elsewhere/iter_5.pth")
    assert run.checkpoint() == str(run.work_dir / "iter_5.pth")
