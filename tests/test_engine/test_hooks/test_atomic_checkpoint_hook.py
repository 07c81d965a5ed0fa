# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner import find_latest_checkpoint

from mmsemi.errors import ConfigError

HOOK = "mmsemi.engine.hooks.atomic_checkpoint_hook"


class Killed(BaseException):
    """Stands for ``kill -9``: nothing that runs afterwards may be relied on."""


def names(work_dir) -> list[str]:
    return sorted(path.name for path in work_dir.glob("*.pth*"))


def load(path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=True)


def assert_resumable(work_dir, iteration: int) -> None:
    """``--resume`` finds a complete checkpoint of the iteration."""
    latest = find_latest_checkpoint(str(work_dir))
    assert latest.endswith(f"iter_{iteration}.pth")
    assert load(latest)["meta"]["iter"] == iteration


def test_files_and_pointer_of_an_undisturbed_run(toy, tmp_path) -> None:
    runner = toy.runner(tmp_path, max_iters=10, save_interval=2, checkpoint=dict(max_keep_ckpts=2))
    runner.train()
    assert names(tmp_path) == ["iter_10.pth", "iter_8.pth"]
    assert_resumable(tmp_path, 10)
    assert runner.message_hub.get_info("keep_ckpt_ids") == [8, 10]
    assert not (tmp_path / "last_checkpoint.tmp").exists()


def test_named_iterations_stay(toy, tmp_path) -> None:
    """Also one between two intervals, and one that a resumed run names after it was written."""
    settings = dict(save_interval=2, checkpoint=dict(max_keep_ckpts=2, keep=[3, 4]))
    toy.runner(tmp_path, max_iters=6, **settings).train()
    assert names(tmp_path) == ["iter_2.pth", "iter_3.pth", "iter_4.pth", "iter_6.pth"]
    settings["checkpoint"]["keep"] = [2, 3]
    toy.runner(tmp_path, max_iters=12, resume=True, **settings).train()
    kept = ["iter_2.pth", "iter_3.pth"]
    assert names(tmp_path) == sorted([*kept, "iter_4.pth", "iter_10.pth", "iter_12.pth"])


def test_a_named_iteration_that_never_comes(toy, tmp_path) -> None:
    runner = toy.runner(tmp_path, max_iters=4, save_interval=2, checkpoint=dict(keep=[5]))
    with pytest.raises(ConfigError, match="keep"):
        runner.train()


def test_same_files_as_the_stock_hook(toy, tmp_path) -> None:
    """Over three resumed legs with a best checkpoint: only the order of events differs."""
    found = {}
    # A leg begins with the validation that its checkpoint was written before.
    scripts = {4: [3, 2], 8: [2, 5, 4], 12: [4, 6, 1]}
    for hook_type in ("AtomicCheckpointHook", "CheckpointHook"):
        work_dir = tmp_path / hook_type
        for end in (4, 8, 12):
            runner = toy.runner(
                work_dir,
                max_iters=end,
                save_interval=2,
                val_interval=2,
                val_evaluator=dict(type=toy.Metric, script=list(scripts[end])),
                val_cfg=dict(also=[]),
                checkpoint=dict(type=hook_type, max_keep_ckpts=2, save_best="mIoU", rule="greater"),
                resume=end > 4,
            )
            runner.train()
        info = runner.message_hub.runtime_info
        found[hook_type] = (
            names(work_dir),
            (work_dir / "last_checkpoint").read_text().rsplit("/")[-1],
            info["keep_ckpt_ids"],
            info["best_score"],
            info["best_ckpt"].rsplit("/")[-1],
        )
    assert found["AtomicCheckpointHook"] == found["CheckpointHook"]
    assert found["CheckpointHook"][0] == ["best_mIoU_iter_10.pth", "iter_10.pth", "iter_12.pth"]


@pytest.mark.parametrize("moment", ["half_written", "before_rename", "before_pointer", "removal"])
def test_kill_at_any_moment_of_a_save(toy, tmp_path, monkeypatch, moment) -> None:
    """The save at iteration 4 is interrupted; the run resumes and ends with the right files."""
    settings = dict(max_iters=8, save_interval=2, checkpoint=dict(max_keep_ckpts=1))
    real_put = LocalBackend.put
    real_replace = os.replace
    real_remove = LocalBackend.remove

    def put(self, data, path) -> None:
        if moment == "half_written" and "iter_4" in str(path):
            real_put(self, data[: len(data) // 2], path)
            raise Killed
        real_put(self, data, path)

    def replace(source, target) -> None:
        if (moment == "before_rename" and target.endswith("iter_4.pth")) or (
            moment == "before_pointer"
            and target.endswith("last_checkpoint")
            and "iter_4" in Path(source).read_text()
        ):
            raise Killed
        real_replace(source, target)

    def remove(self, path) -> None:
        if moment == "removal":
            raise Killed
        real_remove(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(LocalBackend, "put", put)
        patch.setattr(LocalBackend, "remove", remove)
        patch.setattr(f"{HOOK}.os.replace", replace)
        # A killed process does not clean up either.
        patch.setattr(f"{HOOK}.os.remove", lambda path: None)
        with pytest.raises(Killed):
            toy.runner(tmp_path, **settings).train()
    torn = {
        "half_written": "iter_4.pth.tmp",
        "before_rename": "iter_4.pth.tmp",
        "before_pointer": "iter_4.pth",
        "removal": "iter_4.pth",
    }[moment]
    assert names(tmp_path) == sorted(["iter_2.pth", torn])
    assert_resumable(tmp_path, 4 if moment == "removal" else 2)

    resumed = toy.runner(tmp_path, resume=True, **settings)
    resumed.train()
    assert min(resumed.recorder.losses) == (4 if moment == "removal" else 2)
    assert names(tmp_path) == ["iter_8.pth"]
    assert not (tmp_path / "last_checkpoint.tmp").exists()
    assert_resumable(tmp_path, 8)


@pytest.mark.parametrize("kill_at", ["best_mIoU_iter_4.pth", "iter_4.pth"])
def test_the_old_best_stays_until_the_new_one_is_safe(toy, tmp_path, monkeypatch, kill_at) -> None:
    """Iteration 4 is better than 2; the kill hits the new best, or the save that announces it."""
    settings = dict(
        max_iters=4,
        save_interval=2,
        val_interval=2,
        val_cfg=dict(also=[]),
        checkpoint=dict(save_best="mIoU", rule="greater"),
    )
    real_replace = os.replace

    def replace(source, target) -> None:
        is_new_best_known = (tmp_path / "best_mIoU_iter_4.pth").exists()
        if target.endswith(f"/{kill_at}") and (kill_at.startswith("best") or is_new_best_known):
            raise Killed
        real_replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(f"{HOOK}.os.replace", replace)
        with pytest.raises(Killed):
            toy.runner(
                tmp_path, val_evaluator=dict(type=toy.Metric, script=[1, 2]), **settings
            ).train()
    best = load(tmp_path / "best_mIoU_iter_2.pth")
    assert best["meta"]["iter"] == 2
    assert_resumable(tmp_path, 4)
    info = load(tmp_path / "iter_4.pth")["message_hub"]["runtime_info"]
    assert info["best_score"] == 1 and info["best_ckpt"].endswith("best_mIoU_iter_2.pth")

    # The final validation is repeated, finds the new best again, and then the old one goes.
    toy.runner(
        tmp_path, resume=True, val_evaluator=dict(type=toy.Metric, script=[2]), **settings
    ).train()
    assert names(tmp_path) == ["best_mIoU_iter_4.pth", "iter_2.pth", "iter_4.pth"]
    info = load(tmp_path / "iter_4.pth")["message_hub"]["runtime_info"]
    assert info["best_score"] == 2 and info["best_ckpt"].endswith("best_mIoU_iter_4.pth")


def test_a_former_best_goes_even_if_the_kill_came_before_its_removal(
    toy, tmp_path, monkeypatch
) -> None:
    settings = dict(
        max_iters=4,
        save_interval=2,
        val_interval=2,
        val_cfg=dict(also=[]),
        checkpoint=dict(save_best="mIoU", rule="greater"),
    )
    real_remove = LocalBackend.remove

    def remove(self, path) -> None:
        if "best" in str(path):
            raise Killed
        real_remove(self, path)

    metric = dict(type=toy.Metric, script=[1, 2])
    with monkeypatch.context() as patch:
        patch.setattr(LocalBackend, "remove", remove)
        with pytest.raises(Killed):
            toy.runner(tmp_path, val_evaluator=metric, **settings).train()
    both = ["best_mIoU_iter_2.pth", "best_mIoU_iter_4.pth"]
    assert names(tmp_path) == [*both, "iter_2.pth", "iter_4.pth"]
    # The validation of iteration 4 is in the checkpoint and not repeated: the script is at its end.
    toy.runner(tmp_path, resume=True, val_evaluator=metric, **settings).train()
    assert names(tmp_path) == [*both[1:], "iter_2.pth", "iter_4.pth"]


@pytest.mark.parametrize("best_at", [2, 4, 6])
def test_a_validation_that_a_kill_cut_off_is_made_up_for(toy, tmp_path, best_at) -> None:
    """Whatever it finds: files, best score and records are those of an undisturbed run."""

    class KillAt(Hook):
        def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            if runner.iter == 4:
                raise Killed

    class Scripted(toy.Metric):
        def compute_metrics(self, results: list) -> dict:
            iteration = MessageHub.get_current_instance().get_info("iter") + 1
            return dict(mIoU=10.0 - abs(iteration - best_at))

    settings = dict(
        max_iters=6,
        save_interval=2,
        val_interval=2,
        val_cfg=dict(also=[]),
        val_evaluator=dict(type=Scripted),
        checkpoint=dict(save_best="mIoU", rule="greater", max_keep_ckpts=2),
    )
    straight = toy.runner(tmp_path / "a", **settings)
    straight.train()
    with pytest.raises(Killed):
        toy.runner(tmp_path / "b", hooks=(KillAt(),), **settings).train()
    resumed = toy.runner(tmp_path / "b", resume=True, **settings)
    resumed.train()
    assert names(tmp_path / "b") == names(tmp_path / "a")
    assert f"best_mIoU_iter_{best_at}.pth" in names(tmp_path / "b")
    expected, found = (
        run.message_hub.get_scalar("val/mIoU").data[0].tolist() for run in (straight, resumed)
    )
    assert expected == found and len(found) == 3


def test_full_disk_leaves_no_rest(toy, tmp_path, monkeypatch) -> None:
    real_put = LocalBackend.put

    def put(self, data, path) -> None:
        if "iter_4" in str(path):
            real_put(self, data[:100], path)
            raise OSError(28, "No space left on device", str(path))
        real_put(self, data, path)

    monkeypatch.setattr(LocalBackend, "put", put)
    with pytest.raises(OSError, match="No space left on device"):
        toy.runner(tmp_path, max_iters=4, save_interval=2).train()
    assert names(tmp_path) == ["iter_2.pth"]
    assert_resumable(tmp_path, 2)


def test_unknown_save_best_names_the_metrics(toy, tmp_path) -> None:
    runner = toy.runner(
        tmp_path,
        max_iters=2,
        val_interval=2,
        checkpoint=dict(save_best="miou", rule="greater"),
    )
    with pytest.raises(ConfigError, match="save_best='miou'.* mIoU, aAcc"):
        runner.train()


def test_save_best_auto(toy, tmp_path) -> None:
    runner = toy.runner(
        tmp_path, max_iters=2, val_interval=1, checkpoint=dict(save_best="auto", rule="greater")
    )
    runner.train()
    scores = {i: metrics["mIoU"] for i, metrics in runner.recorder.metrics.items()}
    best = max(scores, key=scores.get)
    assert f"best_mIoU_iter_{best}.pth" in names(tmp_path)
    assert runner.message_hub.get_info("best_score") == scores[best]


def test_other_storage_is_written_as_mmengine_does(toy, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(f"{HOOK}.AtomicCheckpointHook._is_local", lambda self: False)
    monkeypatch.setattr(f"{HOOK}.AtomicCheckpointHook._remove", None)
    toy.runner(tmp_path, max_iters=2, save_interval=2).train()
    assert names(tmp_path) == ["iter_2.pth"]
    assert_resumable(tmp_path, 2)


SPLIT = dict(name="mine", labeled=8, unlabeled=12, labeled_sha256="a", unlabeled_sha256="b")


@pytest.mark.parametrize("name", ["mine", "another"])
def test_checkpoints_know_their_images_and_a_run_on_others_is_told(
    toy, tmp_path, monkeypatch, name
) -> None:
    monkeypatch.setattr(toy.Dataset, "split_info", SPLIT, raising=False)
    toy.runner(tmp_path, max_iters=4, save_interval=4).train()
    assert load(tmp_path / "iter_4.pth")["meta"]["split"] == SPLIT
    monkeypatch.setattr(toy.Dataset, "split_info", {**SPLIT, "name": name})
    runner = toy.runner(tmp_path, max_iters=6, save_interval=6, resume=True)
    runner.train()
    told = [line for line in runner.log.lines if "the run resumes on other images" in line]
    assert len(told) == (name == "another")
    assert load(tmp_path / "iter_6.pth")["meta"]["split"]["name"] == name


def test_metrics_find_the_split_of_the_network_at_hand(toy, tmp_path, monkeypatch) -> None:
    """After loading: the checkpoint's. Within a training: that of the training."""
    toy.runner(tmp_path / "old", max_iters=2, save_interval=2).train()
    monkeypatch.setattr(toy.Dataset, "split_info", SPLIT, raising=False)
    runner = toy.runner(tmp_path / "run", max_iters=2, save_interval=2, val_interval=2)
    assert runner.message_hub.get_info("checkpoint_split", None) is None
    runner.train()
    assert runner.message_hub.get_info("checkpoint_split") == SPLIT
    for folder, expected in (("run", SPLIT), ("old", None)):
        weights = str(tmp_path / folder / "iter_2.pth")
        tester = toy.runner(tmp_path / "test", val_interval=2, load_from=weights)
        tester.load_or_resume()
        assert tester.message_hub.get_info("checkpoint_split", "unset") == expected
    other = {**SPLIT, "name": "another"}
    monkeypatch.setattr(toy.Dataset, "split_info", other)
    tuned = toy.runner(
        tmp_path / "tuned", max_iters=2, load_from=str(tmp_path / "run" / "iter_2.pth")
    )
    tuned.train()
    assert tuned.message_hub.get_info("checkpoint_split") == other
    resumed = toy.runner(tmp_path / "run", max_iters=4, save_interval=4, resume=True)
    resumed.train()
    assert resumed.message_hub.get_info("checkpoint_split") == other
    assert not [line for line in resumed.log.lines if "checkpoint_split" in line]
