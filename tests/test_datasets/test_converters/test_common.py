# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What all converters promise: nothing overwritten, no half file, errors that name the file."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsemi.datasets.converters import common
from mmsemi.datasets.converters.common import IdList, Outcome, TargetDiffersError
from mmsemi.datasets.splits import ids_sha256
from mmsemi.errors import DataError

MASK = np.array([[0, 1], [2, 255]], np.uint8)


def test_values_as_text():
    present = np.zeros(256, bool)
    assert common.list_values(present) == "none"
    present[[0, 1, 2, 7, 255]] = True
    assert common.list_values(present) == "0-2, 7, 255"


def test_a_palette_mask_keeps_its_indices(tmp_path, indices):
    path = tmp_path / "new" / "a.png"
    assert common.write_mask(path, MASK, [[0, 0, 0], [9, 8, 7], [1, 2, 3]])
    assert np.array_equal(indices(path), MASK) and np.array_equal(common.read_mask(path), MASK)
    with Image.open(path) as image:
        assert image.mode == "P" and image.convert("RGB").getpixel((1, 0)) == (9, 8, 7)
    assert not common.write_mask(path, MASK), "equal indices, other colours: kept"


def test_other_content_is_not_overwritten(tmp_path):
    path = tmp_path / "a.png"
    common.write_mask(path, MASK)
    before = path.read_bytes()
    with pytest.raises(TargetDiffersError, match="a.png"):
        common.write_mask(path, MASK[::-1].copy())
    assert path.read_bytes() == before


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def stop(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        common.write_mask(tmp_path / "a.png", MASK)
    assert list(tmp_path.iterdir()) == []


def test_masks_that_are_none(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "rgb.png")
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "empty.png").touch()
    common.write_mask(tmp_path / "cut.png", np.arange(2500, dtype=np.uint8).reshape(50, 50))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:80])
    for name, value in dict(rgb="RGB", deep="I;16", empty="", cut="").items():
        with pytest.raises(DataError, match=f"{name}.png'.*{value}"):
            common.read_mask(tmp_path / f"{name}.png")


def test_values_and_size_are_checked(tmp_path):
    assert common.check_values(MASK, 3, Path("a.png"))[[0, 1, 2, 255]].all()
    with pytest.raises(DataError, match="'a.png'.* 2; .* 0-1 and 255"):
        common.check_values(MASK, 2, Path("a.png"))
    with pytest.raises(DataError, match="'a.png'.* 255; .* 0-2$"):
        common.check_values(MASK, 3, Path("a.png"), ignore=None)
    Image.new("RGB", (3, 2)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="'m.png'.* 2x2 .*a.jpg' 3x2"):
        common.check_size(MASK, Path("m.png"), tmp_path / "a.jpg")


def test_counts_and_hashes(capsys):
    ids = ["b", "a"]
    good = IdList("train", 2, ids_sha256(ids))
    good.check(ids)
    assert "2 images, ids sha256" in capsys.readouterr().out
    with pytest.raises(DataError, match="train.* 1 .* 2;.*--subset"):
        good.check(ids[:1])
    with pytest.raises(DataError, match=f"train.* 2 .*{ids_sha256(['a', 'c'])[:16]}"):
        good.check(["a", "c"])
    good.check(["a", "c"], subset=True)
    IdList("train", 2).check(["a", "c"])
    assert "no hash is known" in capsys.readouterr().out
    with pytest.raises(DataError, match="train"):
        good.check([], subset=True)


def test_lists_are_kept_in_any_order(tmp_path, capsys):
    path = tmp_path / "lists" / "train.txt"
    common.write_list(path, ["a", "b"])
    assert path.read_text() == "a\nb\n"
    path.write_text("b\na")
    common.write_list(path, ["a", "b"])
    assert path.read_text() == "b\na" and "kept in another order" in capsys.readouterr().out
    with pytest.raises(DataError, match="train.txt"):
        common.write_list(path, ["a", "c"])


@pytest.mark.parametrize("nproc", [1, 2])
def test_every_failure_is_counted(tmp_path, nproc):
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    for path in paths[::2]:
        common.write_mask(path, MASK)
    with pytest.raises(DataError, match=r"1.png'.*\(3 "):
        common.map_files(common.read_mask, paths, len(paths), nproc, "masks")
    masks = common.map_files(common.read_mask, iter(paths[::2]), 3, nproc, "masks")
    assert len(masks) == 3 and all(np.array_equal(mask, MASK) for mask in masks)


def test_conflicts_are_found_before_anything_is_written(tmp_path):
    class Job(Namespace):
        pass

    def convert(job) -> Outcome:
        return Outcome(common.write_mask(job.target, MASK), common.present_values(MASK))

    jobs = [Job(target=tmp_path / f"{name}.png") for name in "abc"]
    common.write_mask(jobs[2].target, MASK[::-1].copy())
    with pytest.raises(TargetDiffersError, match="c.png"):
        common.convert_masks(convert, jobs, 1, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["c.png"]
