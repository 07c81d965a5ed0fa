# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""ADE20K: complete pairs and untouched values."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mmsemi.datasets.converters import ade20k
from mmsemi.errors import DataError

ROOT = "ADEChallengeData2016"


@pytest.fixture
def ade(files):
    for part, short, count in (("training", "train", 3), ("validation", "val", 2)):
        for i in range(1, count + 1):
            name = f"ADE_{short}_{i:08d}"
            files.image(f"{ROOT}/images/{part}/{name}.jpg")
            files.mask(f"{ROOT}/annotations/{part}/{name}.png", [0, 1, i, 150])
    return files


def check(files, subset: bool = True) -> None:
    ade20k.convert(files.root, subset=subset)


def test_a_clean_set(ade, snapshot, build_config, capsys):
    before = snapshot()
    check(ade)
    assert "5 checked; values 0-3, 150" in capsys.readouterr().out
    after = snapshot()
    assert set(after) - set(before) == {f"{ROOT}/training.txt", f"{ROOT}/validation.txt"}
    check(ade)
    assert snapshot() == after
    root = ade.root / ROOT
    assert (root / "validation.txt").read_text().split() == ["ADE_val_00000001", "ADE_val_00000002"]
    train, val = build_config("ade20k_unimatch", "data/ade/ADEChallengeData2016", root, split=None)
    assert (len(train), len(val)) == (3, 2)
    values = np.unique(train[0]["data_samples"].gt_sem_seg.data).tolist()
    assert values == [0, 149, 255], "1 and 150 moved down, 0 is ignored"


def test_faults(ade):
    def refused(value: str, subset: bool = True) -> None:
        with pytest.raises(DataError, match=value):
            check(ade, subset)

    refused("training.* 3 .* 20210", subset=False)
    path = ade.root / ROOT / "annotations/training/ADE_train_00000002.png"
    content = path.read_bytes()
    ade.mask(f"{ROOT}/annotations/training/{path.name}", [0, 149, 255])
    refused(f"{ROOT}.* 255")
    ade.mask(f"{ROOT}/annotations/training/{path.name}", [151])
    refused("ADE_train_00000002.* 151.* 0-150")
    Image.new("RGB", (40, 30)).save(path)
    refused("ADE_train_00000002.* RGB")
    path.write_bytes(content[:60])
    refused("ADE_train_00000002")
    path.unlink()
    refused("images .*ADE_train_00000002")
    path.write_bytes(content)
    ade.mask(f"{ROOT}/annotations/training/extra.png", [0])
    refused("masks .*extra")


def test_moved_classes_are_noticed_by_the_values(ade, monkeypatch):
    """Without 255 too: a complete set in which 150 never occurs is not the official one."""
    for part, count in (("training", 3), ("validation", 2)):
        expected = ade20k.IdList(part, count)
        monkeypatch.setitem(ade20k.PARTS, part, expected)
    check(ade, subset=False)
    for path in (ade.root / ROOT / "annotations").rglob("*.png"):
        ade.mask(str(path.relative_to(ade.root)), [0, 149])
    with pytest.raises(DataError, match=f"{ROOT}.* 150"):
        check(ade, subset=False)
