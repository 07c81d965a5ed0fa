# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Masks that hold legal values and wrong labels, at the start of a training and when they are read."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmsemi.datasets import LoadCheckedAnnotations
from mmsemi.datasets.checks import check_at_start, scan, start
from mmsemi.errors import DataError


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """Warnings of the start."""
    lines: list[str] = []

    def keep(text: str, _, level: int) -> None:
        if level == logging.WARNING:
            lines.append(text)

    monkeypatch.setattr(start, "print_log", keep)
    return lines


def build(config: dict):
    return DATASETS.build(copy.deepcopy(config))


def change_masks(root, change) -> None:
    for path in (root / "masks/train").glob("*.png"):
        Image.fromarray(change(np.asarray(Image.open(path))).astype(np.uint8)).save(path)


# --- An object that is stored as the void value ---------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "change"),
    [
        (("ground", "object"), lambda mask: np.where(mask == 2, 255, 0)),
        (("a", "b", "c"), lambda mask: np.where(mask == 1, 255, 0)),
        (("ground", "object"), lambda mask: np.where(mask == 2, 255, 1)),
    ],
)
def test_one_class_and_void_is_no_training_set(semi_config, data_root, classes, change):
    change_masks(data_root, change)
    semi_config["labeled"]["metainfo"] = dict(classes=classes)
    with pytest.raises(DataError, match="255 .*one-class-and-void"):
        check_at_start(build(semi_config))


@pytest.mark.parametrize(
    "change",
    [
        lambda mask: np.where(mask == 2, 1, 0),  # no void
        lambda mask: np.full_like(mask, 255),  # nothing but void
        lambda mask: np.where(mask == 2, 255, mask % 2),  # two classes
    ],
)
def test_other_masks_may_lack_a_class(semi_config, data_root, change, told):
    change_masks(data_root, change)
    check_at_start(build(semi_config))
    assert any("class-never-labelled" in line for line in told)


# --- JPEG -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png"])
def test_jpeg_masks_are_told_by_name_and_by_content(semi_config, data_root, told, suffix):
    for path in list((data_root / "masks/train").glob("*.png")):
        mask = Image.open(path).copy()
        path.unlink()
        mask.save(path.with_suffix(suffix), format="JPEG", quality=100, subsampling=0)
    semi_config["labeled"]["seg_map_suffix"] = suffix
    check_at_start(build(semi_config))
    assert any("mask-is-jpeg" in line and "PNG" in line for line in told)


# --- EXIF -----------------------------------------------------------------------------------------


def turn(root, orientation: int, names: str = "*") -> dict:
    """The images as JPEG with a tag; what a config needs for that."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for path in list((root / "images/train").glob(f"{names}.png")):
        Image.open(path).save(path.with_suffix(".jpg"), exif=exif)
        path.unlink()
    return dict(img_suffix=".jpg")


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_images_that_are_turned_without_their_masks_are_told(
    semi_config, data_root, told, orientation
):
    semi_config["labeled"].update(turn(data_root, orientation))
    check_at_start(build(semi_config))
    (line,) = [line for line in told if "image-turned-by-exif" in line]
    assert line.startswith("labeled: ") and "4x" in line


@pytest.mark.parametrize("how", ["upright", "not turned by the loader"])
def test_images_that_stay_as_they_are_are_fine(semi_config, data_root, told, how):
    semi_config["labeled"].update(turn(data_root, 1 if how == "upright" else 3))
    if how != "upright":
        semi_config["labeled"]["pipeline"][0]["color_type"] = "unchanged"
    check_at_start(build(semi_config))
    assert not any("exif" in line for line in told)


def test_a_mask_of_the_unturned_size_is_named_with_the_reason(semi_config, data_root):
    semi_config["labeled"].update(turn(data_root, 6))
    with pytest.raises(DataError, match="EXIF"):
        build(semi_config)[0]


# --- Huge masks -----------------------------------------------------------------------------------


def test_a_mask_beyond_pillows_limit_says_what_to_do(data_root, monkeypatch):
    path = str(data_root / "masks/train/t00.png")
    info = dict(img_path="x", seg_map_path=path, reduce_zero_label=False, label_map=None)
    info.update(seg_fields=[], img_shape=(36, 48), ori_shape=(36, 48))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 800)
    monkeypatch.setattr(scan, "_MAX_PIXELS", 1600)
    with pytest.raises(DataError, match="t00.png' .*tiles.*imdecode_backend='cv2'"):
        LoadCheckedAnnotations(num_classes=3)(copy.deepcopy(info))
    assert LoadCheckedAnnotations(num_classes=3, imdecode_backend="cv2")(info)["gt_seg_map"].any()
    assert scan.scan_mask(path).problem in ("too large", "corrupt")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as in the tool's workers
    assert scan.scan_mask(path).problem == "too large"
