# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""When networks are copied, and what becomes of their files."""

from __future__ import annotations

import copy
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook
from torch import nn

from mmsemi.engine import PreviousNetworksHook
from mmsemi.engine.hooks.previous_networks_hook import CHECKPOINT_KEY, FOLDER
from mmsemi.errors import CheckpointError, ConfigError
from mmsemi.models.previous_networks import PreviousNetworks


class Model(nn.Module):
    """What the hook sees of a method; its network is as long trained as it is."""

    def __init__(self, capacity: int = 3, **settings) -> None:
        super().__init__()
        self.settings = SimpleNamespace(
            **{"copies": "fixed", "copy_every": None, "copy_start": 0, **settings}
        )
        self.net = nn.Linear(1, 1)
        nn.init.zeros_(self.net.weight)
        self.previous = PreviousNetworks(capacity, 1)

    def network(self) -> nn.Module:
        return self.net


class Run:
    """The hook's side of a training that validates and stores at the end of each iteration.

    Args:
        work_dir: Its folder.
        scores: Of the validations; None does not validate.
        length: Iterations.
        keep: Checkpoints that stay.
        resume: A checkpoint of ``checkpoints``, with the file that it would be.
        settings: Of the model.
    """

    def __init__(self, work_dir, scores=None, length=10, keep=2, resume=None, **settings) -> None:
        checkpoints = CheckpointHook(by_epoch=False, out_dir=str(work_dir))
        checkpoints.file_backend = SimpleNamespace(
            join_path=lambda *parts: str(Path(*parts)), exists=lambda path: Path(path).exists()
        )
        self.hook, self.work_dir, self.keep = PreviousNetworksHook(), Path(work_dir), keep
        self.scores, self.checkpoints, self.held = scores, {}, []
        self.work_dir.mkdir(exist_ok=True)
        self.runner = SimpleNamespace(
            model=Model(**settings), work_dir=str(work_dir), iter=0, max_iters=length, seed=5,
            hooks=[checkpoints], logger=logging.getLogger("run"), _load_from=None,
        )  # fmt: skip
        if resume is not None:
            path, checkpoint = resume
            self.runner._load_from, self.runner.iter = str(path), checkpoint["meta"]["iter"]
            self.hook.after_load_checkpoint(self.runner, copy.deepcopy(checkpoint))
            nn.init.constant_(self.runner.model.net.bias, float(self.runner.iter - 1))
        self.hook.before_run(self.runner)
        self.hook.before_train(self.runner)

    @property
    def members(self) -> list[int]:
        return [member.iteration for member in self.runner.model.previous.members]

    @property
    def files(self) -> set[str]:
        return {path.name for path in (self.work_dir / FOLDER).glob("*")}

    def train(self, end: int) -> list[list[int]]:
        """Train up to an iteration; what was held during each one."""
        runner = self.runner
        while runner.iter < end:
            self.hook.before_train_iter(runner, runner.iter)
            self.held.append(self.members)
            nn.init.constant_(runner.model.net.bias, float(runner.iter))
            runner.iter += 1
            checkpoint = dict(meta=dict(iter=runner.iter), optimizer={})
            self.hook.before_save_checkpoint(runner, checkpoint)
            self.checkpoints[runner.iter] = checkpoint
            self.file(runner.iter).touch()
            self.file(runner.iter - self.keep).unlink(missing_ok=True)
            if self.scores is not None:
                self.hook.after_val_epoch(runner, dict(mIoU=self.scores[runner.iter - 1]))
        return self.held

    def file(self, iteration: int) -> Path:
        return self.work_dir / f"iter_{iteration}.pth"


# --- When -----------------------------------------------------------------------------------------

MIOU = (10, 12, 11, 15, 15, 16, 14, 18, 20, 19)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (0, [[], [0], [0, 1], [0, 1], [0, 1, 3], [0, 1, 3], [1, 3, 5], [1, 3, 5], [3, 5, 7], [5, 7, 8]]),
        (5, [[], [], [], [], [], [], [5], [5], [5, 7], [5, 7, 8]]),
    ],
)  # fmt: skip
def test_copies_at_records(tmp_path, start, expected):
    """Known answer "list": epochs of one iteration; a copy is of the epoch that has just ended."""
    run = Run(tmp_path, MIOU, copies="val_best", copy_start=start)
    held = run.train(10)
    assert [[iteration - 1 for iteration in members] for members in held] == expected


def test_copies_on_a_schedule(tmp_path):
    """Known answer "list": the same for a fixed distance of 3, the first at the start of epoch 3."""
    run = Run(tmp_path, capacity=8, length=80, copy_every=3, keep=1)
    held = run.train(80)
    assert held[2] == [] and held[3] == [3] and held[27] == list(range(6, 28, 3))
    assert held[79] == list(range(57, 79, 3))
    assert Run(tmp_path / "a", length=80).runner.model.previous.copy_every == 4
    assert Run(tmp_path / "b", length=7).runner.model.previous.copy_every == 1
    assert Run(tmp_path / "c", copy_every=2, copy_start=5).train(10)[-1] == [6, 8]


def test_seed_and_length(tmp_path):
    previous = Run(tmp_path, length=80).runner.model.previous
    assert (previous.seed, previous.length) == (5, 80)


def test_records_need_a_score(tmp_path):
    run = Run(tmp_path, copies="val_best")
    with pytest.raises(ConfigError, match="mDice"):
        run.hook.after_val_epoch(run.runner, dict(mDice=1.0))
    run = Run(tmp_path)
    run.hook.after_val_epoch(run.runner, dict(mDice=1.0))


def test_a_model_without_room_for_them_is_refused(tmp_path):
    run = Run(tmp_path)
    del run.runner.model.previous
    with pytest.raises(ConfigError, match="PreviousNetworksHook"):
        run.hook.before_run(run.runner)


# --- Files ----------------------------------------------------------------------------------------


def test_each_copy_is_one_file_until_no_checkpoint_lists_it(tmp_path):
    run = Run(tmp_path, capacity=2, copy_every=1, keep=2)
    run.train(6)
    listed = [run.checkpoints[i][CHECKPOINT_KEY]["members"] for i in (4, 5, 6)]
    assert [[one["iteration"] for one in members] for members in listed] == [[2, 3], [3, 4], [4, 5]]
    # Checkpoint 4 was there when 6 was written; what only 3 lists is gone.
    assert run.files == {f"{one['sha256']}.pth" for members in listed for one in members}
    best = dict(meta=dict(iter=6))
    run.hook.before_save_checkpoint(run.runner, best)
    assert CHECKPOINT_KEY not in best


@pytest.mark.parametrize("copies", ["fixed", "val_best"])
def test_a_resumed_run_has_the_same_networks(tmp_path, copies):
    scores = MIOU if copies == "val_best" else None
    straight = Run(tmp_path / "a", scores, copies=copies)
    straight.train(10)
    first = Run(tmp_path / "b", scores, keep=100, copies=copies)
    first.train(6)
    for folder in ("c", "b"):  # in another folder, and in its own one
        checkpoint = copy.deepcopy(first.checkpoints[6])
        resumed = Run(tmp_path / folder, scores, copies=copies, resume=(first.file(6), checkpoint))
        if scores:  # the loop makes up for the validation that the checkpoint does not know
            resumed.hook.after_val_epoch(resumed.runner, dict(mIoU=scores[5]))
        assert resumed.train(10) == straight.held[6:]
        for ours, theirs in zip(
            straight.runner.model.previous.members, resumed.runner.model.previous.members
        ):
            assert torch.equal(ours.net.bias, theirs.net.bias) and ours.sha256 == theirs.sha256
        last = resumed.checkpoints[10][CHECKPOINT_KEY]["members"]
        assert {f"{one['sha256']}.pth" for one in last} <= resumed.files


def resume(tmp_path, change) -> Run:
    first = Run(tmp_path, copy_every=1)
    first.train(4)
    checkpoint = first.checkpoints[4]
    change(first, checkpoint)
    return Run(tmp_path, copy_every=1, resume=(first.file(4), checkpoint))


def shorten(run: Run, _: dict) -> None:
    path = sorted((run.work_dir / FOLDER).iterdir())[0]
    path.write_bytes(path.read_bytes()[:-1])


def remove(run: Run, _: dict) -> None:
    shutil.rmtree(run.work_dir / FOLDER)


def point_elsewhere(_: Run, checkpoint: dict) -> None:
    checkpoint[CHECKPOINT_KEY]["members"][0]["sha256"] = "../../etc/passwd"


def forget(_: Run, checkpoint: dict) -> None:
    del checkpoint[CHECKPOINT_KEY]["seed"]


@pytest.mark.parametrize(
    ("change", "named"),
    [(shorten, FOLDER), (remove, "iteration 1"), (point_elsewhere, "iter_4"), (forget, "iter_4")],
)
def test_a_list_that_cannot_be_restored_is_refused(tmp_path, change, named):
    with pytest.raises(CheckpointError, match=named):
        resume(tmp_path, change)


def test_a_network_of_another_config_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "network", lambda self: nn.Linear(2, 1))
    with pytest.raises(CheckpointError, match=FOLDER):
        resume(tmp_path, lambda *_: monkeypatch.undo())


def test_a_checkpoint_of_another_method_starts_an_empty_list(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run = resume(tmp_path, lambda _, checkpoint: checkpoint.pop(CHECKPOINT_KEY))
    assert run.members == [] and len(caplog.records) == 1


def test_weights_alone_bring_no_networks(tmp_path):
    first = Run(tmp_path / "a", copy_every=1)
    first.train(4)
    checkpoint = dict(first.checkpoints[4], meta=dict(iter=0))
    assert Run(tmp_path / "b", resume=(first.file(4), checkpoint)).members == []
