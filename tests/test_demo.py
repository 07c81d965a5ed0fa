# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The demo's handling of its trainings, with commands that stand in for them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[1] / "tools" / "demo.py"


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("mmsemi_demo_tool", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def stand_in(demo, tmp_path, name, code):
    return demo.Run(name, [sys.executable, "-c", code], tmp_path / name, tmp_path / f"{name}.log")


def test_commands_use_the_stock_tool_and_one_seed(demo, tmp_path):
    args = demo.parse_args(["--seed", "7", "--out", str(tmp_path), "--max-iters", "4"])
    supervised, cps = (run.command for run in demo.make_runs(args))
    assert supervised[1] == str(TOOL.parent / "train.py")
    assert Path(supervised[2]).parts[-3:] == ("configs", "supervised", "shapes_1-8.py")
    assert Path(cps[2]).parts[-3:] == ("configs", "cps", "shapes_1-8.py")
    assert supervised[3:5] == ["--work-dir", str(tmp_path / "supervised")]
    # The two commands differ in the config and the work dir only.
    assert supervised[5:] == cps[5:]
    assert supervised[6:] == [
        "randomness.seed=7",
        "train_cfg.max_iters=4",
        "train_cfg.val_interval=4",
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_both_trainings_run_with_their_threads(demo, tmp_path, capsys, jobs):
    code = "import os; print('threads', os.environ['OMP_NUM_THREADS'])"
    runs = [stand_in(demo, tmp_path, name, code) for name in demo.CONFIGS]
    demo.train(runs, jobs=jobs, threads=3, every=0.05)
    assert [run.log.read_text() for run in runs] == ["threads 3\n"] * 2
    assert capsys.readouterr().out.count("done in") == 2


def test_failed_training_stops_the_other_and_shows_its_log(demo, tmp_path):
    code = "import sys; [print('line', i) for i in range(50)]; sys.exit(3)"
    bad = stand_in(demo, tmp_path, "supervised", code)
    other = stand_in(demo, tmp_path, "cps_cutmix", "import time; time.sleep(60)")
    with pytest.raises(demo.RunFailed) as error:
        demo.train([bad, other], jobs=2, threads=1, every=0.05)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("the supervised training failed with exit code 3, last lines of ")
    assert lines[1:] == [f"line {i}" for i in range(30, 50)]
    assert other.process.poll() is not None


def test_main_reports_a_failure_and_leaves_no_old_result(demo, tmp_path, capsys, monkeypatch):
    (tmp_path / "results.json").write_text(json.dumps({"old": True}))
    bad = stand_in(demo, tmp_path, "supervised", "raise SystemExit('no such file')")
    monkeypatch.setattr(demo, "make_runs", lambda args: [bad])
    assert demo.main(["--out", str(tmp_path), "--every", "0.05"]) == 1
    assert "no such file" in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()
    assert demo.main(["--jobs", "0"]) == 2


def test_last_checkpoint_survives_a_move(demo, tmp_path):
    with pytest.raises(demo.RunFailed, match="last_checkpoint is missing"):
        demo.last_checkpoint(tmp_path)
    (tmp_path / "iter_5.pth").write_bytes(b"")
    (tmp_path / "last_checkpoint").write_text("/elsewhere/iter_5.pth")
    assert demo.last_checkpoint(tmp_path) == str(tmp_path / "iter_5.pth")
