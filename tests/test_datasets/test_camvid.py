# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CamVid: classes, folders, mask values; on the real images too where they are present."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsemi.datasets.camvid import CamVidDataset

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = [{"type": "LoadImageFromFile"}, {"type": "mmseg.LoadAnnotations"}]


def _dataset(root: Path, split: str) -> CamVidDataset:
    prefix = {"img_path": f"images/{split}", "seg_map_path": f"labels/{split}"}
    return CamVidDataset(data_root=str(root), data_prefix=prefix, pipeline=PIPELINE)


def test_plain_folders_are_read_in_order(tmp_path):
    labels = np.array([[0, 10], [255, 3]], np.uint8)
    for split, names in (("train", ("b", "a")), ("val", ("c",))):
        for folder in ("images", "labels"):
            (tmp_path / folder / split).mkdir(parents=True)
        for name in names:
            Image.new("RGB", (2, 2), (10, 20, 30)).save(tmp_path / f"images/{split}/{name}.jpg")
            Image.fromarray(labels).save(tmp_path / f"labels/{split}/{name}.png")
    train = _dataset(tmp_path, "train")
    assert [Path(train.get_data_info(i)["img_path"]).name for i in range(2)] == ["a.jpg", "b.jpg"]
    assert np.array_equal(train[0]["gt_seg_map"], labels)
    assert len(_dataset(tmp_path, "val")) == 1


def test_classes_and_palette():
    meta = CamVidDataset.METAINFO
    assert len(meta["classes"]) == len(meta["palette"]) == 11
    by_name = dict(zip(meta["classes"], meta["palette"], strict=True))
    # The colours that SegNet prints for these classes.
    assert by_name["Sky"] == [128, 128, 128]
    assert by_name["Road"] == [128, 64, 128]
    assert by_name["Bicyclist"] == [0, 128, 192]


def test_real_images_have_the_stated_class_order():
    root = ROOT.parent / "shared" / "data" / "camvid"
    if not root.is_dir():
        root = ROOT / "data" / "camvid"
    if not root.is_dir():
        pytest.skip(f"the images are not part of the repository ({root})")
    train = _dataset(root, "train")
    assert len(train) == 367 and len(_dataset(root, "val")) == 101
    heights: dict[int, list[float]] = {k: [] for k in range(11)}
    for i in range(0, len(train), 12):
        labels = train[i]["gt_seg_map"]
        values = np.unique(labels)
        assert values.max() == 255 and (values[values != 255] < 11).all()
        for k in values[values != 255]:
            heights[int(k)].append(float(np.nonzero(labels == k)[0].mean()) / labels.shape[0])
    names = train.metainfo["classes"]
    mean = {names[k]: np.mean(values) for k, values in heights.items()}
    assert mean["Sky"] < mean["Building"] < mean["Car"] < mean["Pavement"]
    assert mean["Sky"] < 0.3 and mean["Road"] > 0.7
