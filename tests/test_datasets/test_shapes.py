# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The built-in data set: what is drawn, equal everywhere, and written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsemi.datasets.shapes import ShapesDataset, check_shapes, prepare_shapes
from mmsemi.datasets.shapes_generator import (
    CLASSES,
    SHAPES,
    SIDES,
    TEXTURES,
    generate_sample,
    signed_distance,
    texture_pattern,
    write_shapes,
)
from mmsemi.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"seed": 3, "num_train": 4, "num_val": 2}


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    yy, xx = np.mgrid[0:size, 0:size].astype(np.float64) - (size - 1) / 2
    return xx, yy


def test_no_shape_and_no_texture_decides_a_class_alone():
    pairs = [name.split() for name in CLASSES[1:]]
    assert len(CLASSES) == 7 and len({tuple(pair) for pair in pairs}) == 6
    for texture in TEXTURES:
        assert sum(pair[0] == texture for pair in pairs) >= 2
    for shape in SHAPES:
        assert sum(pair[1] == shape for pair in pairs) >= 2
    assert {pair[1] for pair in pairs} == set(SHAPES)


@pytest.mark.parametrize(
    ("split", "index", "digest"),
    [
        ("train", 0, "3de622c24caa8a64"),
        ("train", 7, "e43909c304067fa6"),
        ("val", 3, "323327a2da81ddc9"),
    ],
)
def test_label_maps_are_the_stored_ones(split, index, digest):
    _, labels = generate_sample(0, split, index)
    assert hashlib.sha256(labels.tobytes()).hexdigest()[:16] == digest


def test_image_depends_on_seed_split_and_index_only():
    image, labels = generate_sample(0, "train", 5)
    np.random.seed(1)  # the global state must not matter
    again, labels_again = generate_sample(0, "train", 5)
    assert np.array_equal(image, again) and np.array_equal(labels, labels_again)
    for other in ((1, "train", 5), (0, "val", 5), (0, "train", 6)):
        other_labels = generate_sample(*other)[1]
        assert labels.shape != other_labels.shape or not np.array_equal(labels, other_labels)


def test_every_class_occurs_and_sizes_and_light_vary():
    counts, sizes, means = np.zeros(256, np.int64), set(), []
    for i in range(40):
        image, labels = generate_sample(0, "train", i)
        assert image.dtype == np.uint8 and image.shape == (*labels.shape, 3)
        counts += np.bincount(labels.ravel(), minlength=256)
        sizes.add(labels.shape)
        means.append(image.mean())
    share = counts / counts.sum()
    assert counts[7:255].sum() == 0
    assert 0.6 < share[0] < 0.85
    assert (share[1:7] > 0.01).all() and (share[1:7] < 0.08).all()
    assert 0.03 < share[255] < 0.12
    assert len(sizes) >= 10 and {side for size in sizes for side in size} == set(SIDES)
    assert min(means) < 80 and max(means) > 130


def test_void_lies_between_unequal_neighbours_and_is_thin():
    _, labels = generate_sample(0, "train", 2)
    # No object pixel touches the background or another class directly.
    for first, second in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        touching = (first != second) & (first != 255) & (second != 255)
        assert not touching.any()
    # A border of one pixel on either side has no 4 x 4 block of void along a straight edge.
    blocks = np.lib.stride_tricks.sliding_window_view(labels == 255, (5, 5)).all(axis=(2, 3))
    assert blocks.sum() <= 2


def test_signed_distances_have_the_right_areas():
    xx, yy = _grid(101)
    area = {
        name: (signed_distance(name, xx, yy, 30.0, 1.0) < 0).sum() / 900
        for name in (*SHAPES, "blob")
    }
    assert area["disc"] == pytest.approx(np.pi, rel=0.01)
    assert area["bar"] == pytest.approx(4 * 1.3 * 0.42, rel=0.04)
    assert area["ring"] == pytest.approx(np.pi * (1.06**2 - 0.46**2), rel=0.02)
    # The area does not depend on the aspect, and distances are in pixels.
    wide = (signed_distance("disc", xx, yy, 30.0, 1.3) < 0).sum() / 900
    assert wide == pytest.approx(np.pi, rel=0.02)
    assert signed_distance("disc", xx, yy, 30.0, 1.0)[50, 95] == pytest.approx(15.0)
    with pytest.raises(ValueError, match="'cube'"):
        signed_distance("cube", xx, yy, 1.0, 1.0)


def test_textures_repeat_with_their_period():
    xx, yy = _grid(65)
    stripes = texture_pattern("striped", xx, yy, 8.0)
    assert np.allclose(stripes[:, 8:], stripes[:, :-8]) and np.allclose(stripes[0], stripes[-1])
    assert not np.allclose(stripes[:, 4:], stripes[:, :-4])
    checks = texture_pattern("checked", xx, yy, 8.0)  # 12 px a pair of checks
    assert np.allclose(checks[:, 6:], 1 - checks[:, :-6])
    dots = texture_pattern("dotted", xx, yy, 10.0)  # 11 px between dots
    assert np.allclose(dots[:, 11:], dots[:, :-11])
    assert dots.mean() == pytest.approx(np.pi * 0.31**2, abs=0.06)
    for pattern in (stripes, checks, dots):
        assert pattern.min() == 0 and pattern.max() == 1
    assert texture_pattern("plain", xx, yy, 8.0).max() == 0


def test_voc_layout_on_disk(tmp_path):
    write_shapes(tmp_path, **SMALL)
    lists = tmp_path / "ImageSets" / "Segmentation"
    assert (lists / "train.txt").read_text().split() == [f"train_{i:04d}" for i in range(4)]
    assert (lists / "val.txt").read_text().split() == ["val_0000", "val_0001"]
    image, labels = generate_sample(3, "val", 1)
    mask = Image.open(tmp_path / "SegmentationClass" / "val_0001.png")
    assert mask.mode == "P" and np.array_equal(np.array(mask), labels)
    assert mask.getpalette()[3:6] == [220, 50, 47]
    stored = np.array(Image.open(tmp_path / "JPEGImages" / "val_0001.jpg")).astype(int)
    assert np.abs(stored - image).mean() < 8
    with pytest.raises(ConfigError, match="num_val .* 0"):
        write_shapes(tmp_path / "none", num_val=0)


def test_dataset_generates_itself_and_yields_checked_values(tmp_path):
    root = tmp_path / "data" / "shapes"
    dataset = ShapesDataset(data_root=str(root), generate=SMALL)
    assert len(dataset) == 4
    assert dataset.metainfo["classes"] == CLASSES
    info = dataset.get_data_info(2)
    assert info["img_path"] == str(root / "JPEGImages" / "train_0002.jpg")
    assert info["seg_map_path"] == str(root / "SegmentationClass" / "train_0002.png")
    val = ShapesDataset(ann_file="ImageSets/Segmentation/val.txt", data_root=str(root))
    assert len(val) == 2
    assert sorted(path.name for path in root.parent.iterdir()) == ["shapes"]


def test_pipeline_reads_palette_masks_as_indices(tmp_path):
    pipeline = [{"type": "LoadImageFromFile"}, {"type": "mmseg.LoadAnnotations"}]
    dataset = ShapesDataset(
        data_root=str(tmp_path / "shapes"), generate=SMALL, pipeline=pipeline, test_mode=False
    )
    sample = dataset[1]
    assert np.array_equal(sample["gt_seg_map"], generate_sample(3, "train", 1)[1])


def test_missing_data_without_auto_generate(tmp_path):
    with pytest.raises(DataError, match=str(tmp_path / "none")):
        ShapesDataset(data_root=str(tmp_path / "none"), auto_generate=False)
    assert not (tmp_path / "none").exists()


def test_unknown_generator_setting(tmp_path):
    with pytest.raises(ConfigError, match="'num_test'"):
        ShapesDataset(data_root=str(tmp_path), generate={"num_test": 3})


def test_incomplete_folder_is_named(tmp_path):
    root = tmp_path / "shapes"
    prepare_shapes(root, **SMALL)
    missing = root / "JPEGImages" / "train_0003.jpg"
    missing.unlink()
    with pytest.raises(DataError, match=r"train_0003\.jpg") as error:
        ShapesDataset(data_root=str(root))
    assert "\n" not in str(error.value)
    (root / "shapes.json").unlink()
    with pytest.raises(DataError, match="shapes.json"):
        ShapesDataset(data_root=str(root))


def test_other_settings_or_versions_are_refused(tmp_path):
    root = tmp_path / "shapes"
    prepare_shapes(root, **SMALL)
    with pytest.raises(DataError, match="seed=3,.* seed=0"):
        ShapesDataset(data_root=str(root), generate={"seed": 0})
    marker = json.loads((root / "shapes.json").read_text())
    (root / "shapes.json").write_text(json.dumps({**marker, "version": 0}))
    with pytest.raises(DataError, match=f"{root} .*version 0 "):
        check_shapes(root)


def _prepare(root: str) -> bool:
    return prepare_shapes(root, **SMALL)


def test_processes_that_start_together_make_one_data_set(tmp_path):
    root = tmp_path / "shapes"
    (tmp_path / ".shapes.tmp-killed").mkdir()  # what a killed process leaves
    with multiprocessing.get_context("fork").Pool(3) as pool:
        made = pool.map(_prepare, [str(root)] * 3, chunksize=1)
    assert sum(made) == 1
    check_shapes(root, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]


def test_failed_generation_leaves_nothing(tmp_path):
    with pytest.raises(ConfigError, match="num_train .* 0"):
        prepare_shapes(tmp_path / "shapes", num_train=0)
    assert list(tmp_path.iterdir()) == []
