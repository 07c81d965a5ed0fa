# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A resumed run goes on from the files in its folder and removes no others, whatever a checkpoint says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from mmengine.runner import find_latest_checkpoint

from mmsemi.compat import load_checkpoint_file
from mmsemi.errors import CheckpointError


def train(
    toy, folder: Path, end: int, scores: list[float], resume: bool = False, **changes
) -> None:
    runner = toy.runner(
        folder,
        max_iters=end,
        save_interval=2,
        val_interval=2,
        val_evaluator=dict(type=toy.Metric, script=list(scores)),
        val_cfg=dict(also=[]),
        checkpoint=dict(max_keep_ckpts=1, save_best="mIoU", rule="greater"),
        resume=resume,
        **changes,
    )
    runner.train()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".pth")


@pytest.fixture
def first(toy, tmp_path) -> Path:
    """A run with a best checkpoint, of iteration 2."""
    train(toy, tmp_path / "first", 4, [5.0, 4.0])
    assert names(tmp_path / "first") == ["best_mIoU_iter_2.pth", "iter_4.pth"]
    return tmp_path / "first"


SCORES = [4.0, 6.0, 1.0]  # of the validation that is repeated, and of those at 6 and 8
AFTER = ["best_mIoU_iter_6.pth", "iter_8.pth"]


def test_a_copied_run_leaves_the_first_alone(toy, first, tmp_path):
    shutil.copytree(first, tmp_path / "copy")
    train(toy, tmp_path / "copy", 8, SCORES, resume=True)
    assert names(first) == ["best_mIoU_iter_2.pth", "iter_4.pth"]
    assert names(tmp_path / "copy") == AFTER


def test_a_moved_run_goes_on(toy, first, tmp_path):
    assert (first / "last_checkpoint").read_text() == "iter_4.pth"
    moved = first.rename(tmp_path / "moved")
    train(toy, moved, 8, SCORES, resume=True)
    assert names(moved) == AFTER


def test_a_run_that_resumes_from_another_one_leaves_it_alone(toy, first, tmp_path):
    train(toy, tmp_path / "other", 8, SCORES, resume=True, load_from=str(first / "iter_4.pth"))
    assert names(first) == ["best_mIoU_iter_2.pth", "iter_4.pth"]
    assert names(tmp_path / "other") == AFTER


@pytest.mark.parametrize(
    "best",
    [
        "{world}/folder",
        "{world}/precious.pth",
        "{world}/best_other.pth",
        "../../precious.pth",
        "best_x/../../../precious.pth",
        "{here}/kept_best.pth",
        "{here}/folder_best",
        "{here}",
        "..\\..\\precious.pth",
        7,
        "",
    ],
)
def test_what_a_checkpoint_calls_its_best_is_not_removed(toy, first, tmp_path, best):
    for path in (tmp_path / "folder", first / "folder_best"):
        path.mkdir()
        (path / "file.pth").write_bytes(b"x")
    for path in (tmp_path / "precious.pth", tmp_path / "best_other.pth", first / "kept_best.pth"):
        path.write_bytes(b"x")
    content = load_checkpoint_file(str(first / "iter_4.pth"))
    value = best.format(world=tmp_path, here=first) if isinstance(best, str) else best
    info = content["message_hub"]["runtime_info"]
    info.update(best_ckpt=value, keep_ckpt_ids=["../../precious", "x/../../folder", 4])
    info["outdated_best_ckpts"] = [value, f"best_/../../{value}"]
    torch.save(content, first / "iter_4.pth")
    before = {path for path in tmp_path.rglob("*") if path.name != "iter_4.pth"}
    train(toy, first, 8, SCORES, resume=True)
    assert before <= set(tmp_path.rglob("*"))
    assert (first / "best_mIoU_iter_6.pth").is_file()


@pytest.mark.parametrize(
    "pointer", [b"", b"\0\xff\n", b"/nowhere/iter_5.pth", b"..", b"\xff" * 100, b"a\nb"]
)
def test_a_pointer_to_nothing_is_one_line(first, pointer):
    (first / "last_checkpoint").write_bytes(pointer)
    with pytest.raises(CheckpointError, match=r"iter_4\.pth") as caught:
        find_latest_checkpoint(str(first))
    assert "\n" not in str(caught.value)


def test_a_pointer_means_the_file_beside_it(first, tmp_path, monkeypatch):
    for text in ("iter_4.pth\n", "/elsewhere/iter_4.pth", "C:\\runs\\iter_4.pth"):
        (first / "last_checkpoint").write_text(text)
        assert find_latest_checkpoint(first) == str(first / "iter_4.pth")
    other = tmp_path / "elsewhere.pth"  # of a hook with an out_dir
    other.touch()
    (first / "last_checkpoint").write_text(str(other))
    assert find_latest_checkpoint(first) == str(other)
    monkeypatch.chdir(first)
    (first / "last_checkpoint").write_text("iter_4.pth")
    assert find_latest_checkpoint(".") == "iter_4.pth"
    (first / "last_checkpoint").unlink()
    assert find_latest_checkpoint(".") is None
