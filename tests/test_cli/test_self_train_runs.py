# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Whole runs of ``mmsemi self-train``: killed and started again, and on two processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]


def write_tiny(folder: Path) -> Path:
    """A config for the built-in data set with 2 rounds of 4 iterations, and its baseline."""
    from forked_runs import make_data, tiny_config

    data = make_data(folder / "data", train=12, val=3)
    baseline = tiny_config("supervised", data, folder / "supervised.py", iters=5)
    config = Config.fromfile(baseline)
    config.model = dict(
        config.model, type="SelfTraining", weight=dict(type="DynamicWeight", gamma=1)
    )
    config.train_dataloader.sampler.num_per_source = dict(labeled=2, unlabeled=0, pseudo=2)
    config.train_dataloader.dataset.sources = dict(pseudo=dict(type="PseudoLabelDataset"))
    config.train_cfg.update(max_iters=8, val_interval=4)
    config.default_hooks.checkpoint.interval = 4
    config.self_training = dict(
        baseline=str(baseline), ratios=(0.5, 1.0), labels=dict(assign="ratio", batch_size=2)
    )
    config.dump(folder / "student.py")
    return folder / "student.py"


def command(config: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "mmsemi", "self-train", str(config), "--out", str(out)]


def final_weights(out: Path) -> dict:
    path = out / "round_2/train/run/iter_8.pth"
    return torch.load(path, weights_only=False)["state_dict"]


@pytest.mark.slow
def test_killed_at_any_time_it_ends_with_the_same_weights(tmp_path):
    config = write_tiny(tmp_path)
    env = dict(os.environ, PYTHONPATH=f"{ROOT}", OMP_NUM_THREADS="1")
    subprocess.run(command(config, tmp_path / "straight"), env=env, check=True, cwd=tmp_path)
    out = tmp_path / "killed"
    # During a labelling, inside a training, and between two stages.
    moments = ["round_1/labels/stored/settings.json", "round_1/train/run/iter_4.pth", "round_2"]
    for moment in moments:
        process = subprocess.Popen(command(config, out), env=env, cwd=tmp_path)
        while not (out / moment).exists():
            assert process.poll() is None, f"it ended before {moment}"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command(config, out), env=env, check=True, cwd=tmp_path)
    straight, killed = final_weights(tmp_path / "straight"), final_weights(out)
    assert straight.keys() == killed.keys()
    assert all(torch.equal(straight[key], killed[key]) for key in straight)
    assert (out / "table.md").read_text().count("round_") >= 2


@pytest.mark.slow
def test_two_processes_score_and_label_as_one_does(tmp_path):
    """ST++ with ``--gpus 2`` on the CPU: all stages end, and its scores and labels are those of one process."""
    config = Config.fromfile(write_tiny(tmp_path))
    config.model.weight = None
    config.self_training = dict(
        config.self_training,
        start="pretrained",
        ratios=(1.0, 1.0),
        images=dict(shares=(0.5, 1.0), checkpoints=2),
        labels=dict(assign="all", batch_size=1),
    )
    config.dump(tmp_path / "student.py")
    env = dict(os.environ, PYTHONPATH=f"{ROOT}", OMP_NUM_THREADS="1")
    out = tmp_path / "out"
    two = [*command(tmp_path / "student.py", out), "--gpus", "2"]
    subprocess.run(two, env=env, check=True, cwd=tmp_path)
    baseline, run = out / "baseline/train/run", [sys.executable, "-m", "mmsemi"]
    score, label = out / "reliability/scores", out / "round_1/labels"
    checkpoints = [str(baseline / f"iter_{number}.pth") for number in (2, 5)]
    one = ["reliability", str(score / "config.py"), str(tmp_path / "one"), *checkpoints]
    subprocess.run([*run, *one], env=env, check=True, cwd=tmp_path)
    found = (tmp_path / "one/scores.csv").read_bytes()
    assert found == (score / "stored/scores.csv").read_bytes()
    images = ["--images", str(label / "images.txt")]
    one = ["pseudo-label", str(label / "config.py"), checkpoints[-1], str(tmp_path / "labels")]
    subprocess.run([*run, *one, *images], env=env, check=True, cwd=tmp_path)
    stored = sorted((label / "stored/labels").iterdir())
    assert len(stored) == len((label / "images.txt").read_text().split())
    for path in stored:
        assert path.read_bytes() == (tmp_path / "labels/labels" / path.name).read_bytes()
