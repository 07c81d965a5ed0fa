# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Nuclei: made-up archives in the public layout."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsemi.datasets.converters import nuclei
from mmsemi.datasets.converters.common import check_written
from mmsemi.errors import DataError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "nuclei"
IDS = [f"{number:064x}" for number in range(7)]
#: The order of the ids' hashes, by an own line of code.
ORDER = sorted(IDS, key=lambda name: hashlib.sha256(b"nuclei" + name.encode()).digest())


@pytest.fixture
def archive(files, monkeypatch):
    """Two images of val, one of no part, four of train; two nuclei each, that touch."""
    monkeypatch.setattr(nuclei, "NUM_IMAGES", len(IDS))
    monkeypatch.setattr(nuclei, "NUM_VAL", 2)
    monkeypatch.setattr(nuclei, "NUM_LEFT_OUT", 1)
    for number, name in enumerate(IDS):
        folder = files.root / "fixes-master" / "stage1_train" / name
        files.image(f"fixes-master/stage1_train/{name}/images/{name}.png", (10 + number, 20))
        for nucleus in range(2):
            mask = np.zeros((10 + number, 20), np.uint8)
            mask[number : number + 2, 3 * nucleus : 3 * nucleus + 4] = 255
            (folder / "masks").mkdir(exist_ok=True)
            Image.fromarray(mask).save(folder / "masks" / f"{nucleus}.png")
    return files.root / "fixes-master"


def zipped(folder: Path) -> Path:
    path = folder.parent / "download.zip"
    with zipfile.ZipFile(path, "w") as file:
        for member in folder.rglob("*.png"):
            file.write(member, member.relative_to(folder.parent))
    return path


@pytest.mark.parametrize("as_zip", [False, True])
def test_parts_names_and_unions(archive, as_zip, indices, snapshot, files):
    out = files.root / "out"
    nuclei.convert(zipped(archive) if as_zip else archive, out, subset=True)
    expected = {"val": ORDER[:2], "train": ORDER[3:]}
    for part, names in expected.items():
        written = sorted((out / "labels" / part).iterdir())
        assert [path.name for path in written] == [f"{part}_{i:03}.png" for i in range(len(names))]
        for path, name in zip(written, names, strict=True):
            number = IDS.index(name)
            mask = indices(path)
            union = np.zeros((10 + number, 20), np.uint8)
            union[number : number + 2, :7] = 1
            assert np.array_equal(mask, union)
            with Image.open(out / "images" / part / f"{path.stem}.jpg") as image:
                assert image.size == (20, 10 + number) and image.layers == 3
                assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # no subsampling
    there = snapshot()
    nuclei.convert(archive, out, subset=True)
    assert snapshot() == there, "a second run changes nothing and leaves nothing"


def test_large_images_are_reduced_by_area(files, monkeypatch, indices):
    monkeypatch.setattr(nuclei, "MAX_SIDE", 4)
    folder = files.root / "a"
    files.image("a/images/a.png", (6, 8))
    mask = np.zeros((6, 8), np.uint8)
    mask[:2, :2] = 255  # a whole pixel of the result
    mask[2, 2:4] = 255  # half of one: background
    mask[4, 4:6] = mask[5, 4] = 255  # three quarters of one
    files.mask("a/masks/one.png", [0], (6, 8))
    Image.fromarray(mask).save(folder / "masks" / "two.png")
    job = nuclei.make_job(folder, "train", 0, files.root / "out")
    nuclei.convert_one(job)
    expected = np.zeros((3, 4), np.uint8)
    expected[0, 0] = expected[2, 2] = 1
    assert np.array_equal(
        indices(files.root / "out" / "labels" / "train" / "train_000.png"), expected
    )
    with Image.open(job.image_target) as image:
        assert image.size == (4, 3)


def test_what_was_written_is_checked_by_the_rules_of_check_dataset(archive, files, capsys):
    out = files.root / "out"
    nuclei.convert(archive, out, subset=True)
    assert "error" not in capsys.readouterr().out.replace("0 errors", "")
    Image.new("L", (20, 10), 7).save(out / "labels" / "train" / "train_000.png")
    with pytest.raises(DataError):
        check_written(dict(type="BaseSegDataset", metainfo=dict(classes=("a", "b"))), out, 1)
    assert "mask-value-outside" in capsys.readouterr().out


def test_other_ids_are_refused_before_anything_is_written(archive, files, monkeypatch, capsys):
    out = files.root / "out"
    jobs = nuclei.plan(archive / "stage1_train", out, subset=True)
    monkeypatch.setattr(nuclei, "SIZES_SHA256", nuclei.sizes_sha256(jobs))
    nuclei.convert(archive, out)
    assert "note: masks" in capsys.readouterr().out
    first, last = (archive / "stage1_train" / name for name in (ORDER[0], ORDER[-1]))
    first.rename(files.root / "first")
    with pytest.raises(DataError, match="has 6 images"):
        nuclei.convert(archive, files.root / "other")
    last.rename(first)
    (files.root / "first").rename(last)
    with pytest.raises(DataError, match="names and sizes"):
        nuclei.convert(archive, files.root / "other")
    assert not (files.root / "other").exists()


@pytest.mark.parametrize(
    "break_it, match",
    [
        (lambda folder: (folder / "images" / f"{folder.name}.png").unlink(), "0 images"),
        (lambda folder: [path.unlink() for path in (folder / "masks").iterdir()], "0 masks"),
        (lambda folder: Image.new("L", (3, 3)).save(folder / "masks" / "0.png"), "3x3"),
        (lambda folder: (folder / "masks" / "1.png").write_bytes(b"PNG"), "cannot be read"),
    ],
)
def test_incomplete_images_are_named(archive, files, break_it, match):
    folder = archive / "stage1_train" / ORDER[4]
    break_it(folder)
    with pytest.raises(DataError, match=match) as error:
        nuclei.convert(archive, files.root / "out", subset=True)
    assert ORDER[4] in str(error.value)


def test_what_is_no_archive_is_refused(files):
    (files.root / "no.zip").write_bytes(b"PK no")
    for source in (files.root / "no.zip", files.root / "missing", files.root):
        with pytest.raises(DataError, match=str(source)):
            nuclei.convert(source, files.root / "out" / "nuclei")


def test_the_real_masks_have_the_stored_hashes(monkeypatch):
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there")
    masks = [p for part in ("train", "val") for p in sorted((SHARED / "labels" / part).iterdir())]
    jobs = [nuclei.Job(path, (), path, path) for path in masks]
    assert nuclei.sizes_sha256(jobs) == nuclei.SIZES_SHA256
    assert nuclei.masks_sha256(masks) == nuclei.MASKS_SHA256
