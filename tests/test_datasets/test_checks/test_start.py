# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a training refuses to start with, and what it says at its start."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import labeled_config, write_pair
from mmseg.registry import DATASETS
from PIL import Image
from step_runner import NoiseImages
from torch import nn

from mmsemi.datasets.checks import check_at_start, scan, start
from mmsemi.errors import DataError


def build(config):
    return DATASETS.build(copy.deepcopy(config))


@pytest.fixture
def logged(monkeypatch) -> list[tuple[int, str]]:
    """Levels and lines of the log, apart from the data set's own."""
    lines: list[tuple[int, str]] = []
    monkeypatch.setattr(start, "print_log", lambda text, _, level: lines.append((level, text)))
    return lines


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Files that are opened."""
    paths: list[str] = []
    read, get = Path.read_bytes, scan.fileio.get
    monkeypatch.setattr(Path, "read_bytes", lambda path: paths.append(str(path)) or read(path))
    monkeypatch.setattr(
        scan.fileio, "get", lambda path, *a, **k: paths.append(str(path)) or get(path, *a, **k)
    )
    return paths


def test_a_clean_set_is_silent_and_nearly_unread(semi_config, val_config, logged, opened):
    dataset, val = build(semi_config), build(val_config)
    opened.clear()
    started = time.perf_counter()
    check_at_start(dataset, val)
    assert time.perf_counter() - started < 0.5
    assert not logged
    assert opened == dataset.masks("labeled")[:1], "one mask, which has all classes"


def test_labelled_validation_images_are_refused(semi_config, val_config):
    val_config["data_prefix"] = copy.deepcopy(semi_config["labeled"]["data_prefix"])
    with pytest.raises(DataError, match="labeled and val: .*4x.*'.*t.*png'"):
        check_at_start(build(semi_config), build(val_config))


@pytest.mark.parametrize("how", ["folder", "link", "copy"])
def test_unlabelled_validation_images_are_refused(
    semi_config, val_config, data_root, tmp_path, how
):
    folder = tmp_path / "more"
    folder.mkdir()
    source = data_root / "images/val/v00.png"
    if how == "folder":
        folder = data_root / "images/val"
    elif how == "link":
        os.symlink(source, folder / "other.png")
    else:
        shutil.copy(source, folder / "v00.png")
    semi_config["unlabeled"]["img_dir"] = str(folder)
    with pytest.raises(DataError, match="unlabeled and val: .*v00.png|other.png"):
        check_at_start(build(semi_config), build(val_config))


def test_equal_names_with_other_content_are_no_leak(semi_config, val_config, tmp_path, logged):
    folder = tmp_path / "more"
    folder.mkdir()
    Image.new("RGB", (48, 40)).save(folder / "v00.png")
    semi_config["unlabeled"]["img_dir"] = str(folder)
    check_at_start(build(semi_config), build(val_config))
    assert not logged


def test_frames_of_many_folders_with_the_same_names_are_read_once(
    semi_config, val_config, data_root, tmp_path, opened
):
    for number in range(4):
        folder = tmp_path / "more" / str(number)
        folder.mkdir(parents=True)
        data = bytearray((data_root / "images/val/v00.png").read_bytes())
        data[-1] ^= number + 1
        (folder / "v00.png").write_bytes(data)
    semi_config["unlabeled"]["img_dir"] = str(tmp_path / "more")
    dataset, val = build(semi_config), build(val_config)
    opened.clear()
    check_at_start(dataset, val)
    images = [path for path in opened if "/masks/" not in path]
    assert len(images) == len(set(images)) == 5


@pytest.mark.parametrize("setting", [None, "model.classifier.head.num_classes"])
def test_another_number_of_classes_is_refused(semi_config, val_config, logged, setting):
    model = nn.Module()
    if setting:
        model.classes_setting = setting
    model.num_classes = 3
    check_at_start(build(semi_config), build(val_config), model)
    model.num_classes = 4
    setting = setting or "model.decode_head.num_classes"
    with pytest.raises(DataError, match=f"{setting}=3"):
        check_at_start(build(semi_config), model=model)
    semi_config["labeled"]["metainfo"] = dict(classes=("a", "b", "c", "d"))
    with pytest.raises(DataError, match="val: .*3 classes"):
        check_at_start(build(semi_config), build(val_config), model)
    assert not logged


def test_of_other_data_sets_the_classes_are_checked_alone(val_config):
    model, own = nn.Module(), NoiseImages()
    for dataset in (own, build(val_config)):
        model.num_classes = 3
        check_at_start(dataset, model=model)
        model.num_classes = 2
        with pytest.raises(DataError, match=r"model\.decode_head\.num_classes=3"):
            check_at_start(dataset, model=model)


# --- Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "code"), [("masks", "mask-missing"), ("images", "image-missing")])
def test_missing_files_stop_the_run(semi_config, val_config, data_root, logged, kind, code):
    dataset, val = build(semi_config), build(val_config)
    for name in dataset.labeled_ids[1:3]:
        (data_root / kind / "train" / f"{name}.png").unlink()
    first = f"{kind}/train/{dataset.labeled_ids[1]}.png"
    with pytest.raises(DataError, match=f"labeled: .*2x, {code}.*{first}.*max_unreadable=0"):
        check_at_start(dataset, val)
    dataset.max_unreadable = 1
    with pytest.raises(DataError, match=f"{first}.*max_unreadable=1"):
        check_at_start(dataset, val)
    dataset.max_unreadable = 2
    check_at_start(dataset, val)
    assert any(f"2x, {code}" in line for _, line in logged)
    assert {level for level, _ in logged} == {logging.WARNING}


def test_a_line_of_a_list_without_image_and_mask_is_named(semi_config, data_root):
    names = sorted(path.stem for path in (data_root / "images/train").iterdir())
    (data_root / "list.txt").write_text("\n".join([*names, "nothing"]))
    semi_config["labeled"]["ann_file"] = "list.txt"
    semi_config["split"] = None
    with pytest.raises(DataError, match=r"list.txt.*nothing.png"):
        check_at_start(build(semi_config))


def test_missing_validation_files_stop_the_run(semi_config, val_config, data_root):
    """At once, and not at the first validation; no limit allows them."""
    (data_root / "masks/val/v01.png").unlink()
    dataset = build({**semi_config, "max_unreadable": 9})
    with pytest.raises(DataError, match="val: .*masks/val/v01.png"):
        check_at_start(dataset, build(val_config))


def test_files_of_other_storages_are_left_alone(semi_config, val_config, data_root, monkeypatch):
    """They cannot be looked up cheaply."""
    monkeypatch.setattr(start, "read_until_all_classes", lambda survey: {})
    dataset, val = build(semi_config), build(val_config)
    for part in dataset.sources["labeled"].parts:
        part.is_local = False
    for name in dataset.labeled_ids:
        (data_root / "masks/train" / f"{name}.png").unlink()
    check_at_start(dataset, val)


def test_masks_of_unlabelled_images_need_not_exist(semi_config, data_root, opened):
    dataset = build(semi_config)
    for name in dataset.unlabeled_ids:
        (data_root / "masks" / "train" / f"{name}.png").unlink()
    check_at_start(dataset)
    assert not [p for p in opened if any(name in p for name in dataset.unlabeled_ids)]
    (data_root / "images" / "train" / f"{dataset.unlabeled_ids[0]}.png").unlink()
    with pytest.raises(DataError, match=f"unlabeled: .*{dataset.unlabeled_ids[0]}.png"):
        check_at_start(dataset)


def test_masks_below_the_unlabelled_folder_are_refused(semi_config, data_root):
    """Also those of images that the split leaves unlabelled, none of which is opened."""
    semi_config["unlabeled"]["img_dir"] = str(data_root / "masks")
    with pytest.raises(DataError, match="unlabeled: .*12x, image-is-mask.*masks/train/t00.png"):
        check_at_start(build(semi_config))


# --- Classes and repetitions ----------------------------------------------------------------------


def rewrite_masks(dataset, change) -> None:
    for path in dataset.masks("labeled"):
        Image.fromarray(change(np.array(Image.open(path))).astype(np.uint8)).save(path)


def test_a_class_without_labelled_pixel_is_named(semi_config, logged):
    dataset = build(semi_config)
    rewrite_masks(dataset, lambda mask: np.where(mask == 2, 255, mask))
    check_at_start(dataset)
    ((level, line),) = logged
    assert level == logging.WARNING
    assert all(part in line for part in ("labeled", "4 of 4", "class-never-labelled", "'right'"))


def test_the_search_for_classes_is_bounded_and_says_so(semi_config, logged, opened, monkeypatch):
    monkeypatch.setattr(start, "MAX_MASKS", 2)
    dataset = build(semi_config)
    rewrite_masks(dataset, lambda mask: mask * 0)
    opened.clear()
    check_at_start(dataset)
    assert "2 of 4" in logged[0][1] and "2x" in logged[0][1] and "'left'" in logged[0][1]
    assert len(opened) == 2


def test_labels_are_mapped_as_the_data_set_maps_them(semi_config, logged):
    """With reduce_zero_label, 0 is no class and 1 is the first one."""
    semi_config["labeled"]["reduce_zero_label"] = True
    check_at_start(build(semi_config))
    assert len(logged) == 1 and "'right'" in logged[0][1]


def test_unreadable_masks_are_left_to_the_loader(semi_config, logged):
    dataset = build(semi_config)
    Path(dataset.masks("labeled")[0]).write_bytes(b"no picture")
    check_at_start(dataset)
    assert not logged


def test_another_source_may_have_the_class(semi_config, data_root, logged):
    for number in range(2):
        write_pair(data_root, f"x{number}", 70 + number, split="more")
    semi_config["sources"] = dict(more=labeled_config(data_root, "more"))
    dataset = build(semi_config)
    rewrite_masks(dataset, lambda mask: np.where(mask == 2, 255, mask))
    check_at_start(dataset)
    assert not logged


def test_links_to_one_file_and_labelled_images_in_the_pool_are_told(semi_config, data_root, logged):
    folder = data_root / "more"
    folder.mkdir()
    target = data_root / "images" / "train" / f"{build(semi_config).labeled_ids[0]}.png"
    for name in ("a.png", "b.png"):
        os.symlink(target, folder / name)
    semi_config["unlabeled"]["img_dir"] = str(folder)
    check_at_start(build(semi_config))
    codes = {"duplicate-file": "a.png = ", "labeled-image-among-unlabeled": target.name}
    assert len(logged) == len(codes) and {level for level, _ in logged} == {logging.WARNING}
    for code, named in codes.items():
        assert any(code in line and named in line for _, line in logged)


def test_a_pool_of_all_images_is_no_warning(semi_config, logged):
    semi_config["unlabeled"]["pool"] = "all"
    check_at_start(build(semi_config))
    ((level, line),) = logged
    assert level == logging.INFO and "pool='all'" in line and "4x" in line


def test_a_data_set_of_its_own_that_reads_hidden_masks_is_reported(semi_config, logged):
    gt = dict(pool="labeled")
    check_at_start(build({**semi_config, "sources": dict(gt=gt)}))
    assert not logged
    gt = copy.deepcopy(semi_config["labeled"])
    dataset = build({**semi_config, "sources": dict(gt=gt)})
    check_at_start(dataset)
    lines = [line for _, line in logged if "hidden-masks-read" in line]
    assert len(lines) == 1 and "gt: " in lines[0] and "8x" in lines[0]
    hidden = [path.replace("/images/", "/masks/") for path in dataset.img_paths("unlabeled")]
    assert lines[0].split("first is '")[1].split("'")[0] in hidden
    assert "sources.gt=dict(pool='labeled'" in lines[0]


def test_a_missing_file_counts_once(semi_config):
    dataset = build({**semi_config, "sources": dict(gt=dict(pool="labeled"))})
    os.remove(dataset.img_paths("gt")[0])
    with pytest.raises(DataError, match=r"^labeled: .*\(image-missing\)"):
        check_at_start(dataset)


def test_other_data_sets_pass(val_config):
    check_at_start(build(val_config), build(val_config))


class Numbers(torch.utils.data.Dataset):
    """A validation set that has no image files."""

    def __len__(self) -> int:
        return 3


def test_a_validation_set_without_files_passes(semi_config):
    check_at_start(build(semi_config), Numbers())
