# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import copy
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmsemi.datasets import LoadCheckedAnnotations, check_leakage
from mmsemi.datasets import checks as checks_module
from mmsemi.datasets.checks import check_training_set, find_missing_classes
from mmsemi.datasets.files import resolve_files


def build(config):
    return DATASETS.build(copy.deepcopy(config))


def test_disjoint_sets_pass_and_validation_masks_are_checked_too(semi_config, val_config):
    val = build(val_config)
    check_leakage(build(semi_config), val)
    assert type(val.pipeline.transforms[1]) is LoadCheckedAnnotations
    mask = val.get_data_info(0)["seg_map_path"]
    Image.fromarray(np.full((40, 48), 9, np.uint8)).save(mask)
    with pytest.raises(ValueError, match="value 9"):
        val[0]


def test_labelled_validation_images_are_refused(semi_config, val_config):
    val_config["data_prefix"] = copy.deepcopy(semi_config["labeled"]["data_prefix"])
    with pytest.raises(
        ValueError, match="4 labeled training images are validation images.*'.*t.*png'"
    ):
        check_leakage(build(semi_config), build(val_config))


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
    with pytest.raises(ValueError, match="unlabeled training images are validation images"):
        check_leakage(build(semi_config), build(val_config))


def test_equal_names_with_other_content_are_no_leak(semi_config, val_config, tmp_path):
    folder = tmp_path / "more"
    folder.mkdir()
    Image.new("RGB", (48, 40)).save(folder / "v00.png")
    semi_config["unlabeled"]["img_dir"] = str(folder)
    check_leakage(build(semi_config), build(val_config))


def test_frames_of_many_folders_with_the_same_names_are_read_once(
    semi_config, val_config, data_root, tmp_path, monkeypatch
):
    for number in range(4):
        folder = tmp_path / "more" / str(number)
        folder.mkdir(parents=True)
        data = bytearray((data_root / "images/val/v00.png").read_bytes())
        data[-1] ^= number + 1
        (folder / "v00.png").write_bytes(data)
    semi_config["unlabeled"]["img_dir"] = str(tmp_path / "more")
    read = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or read_bytes(path))
    check_leakage(build(semi_config), build(val_config))
    assert len(read) == len(set(read)) == 5


# --- Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 200])  # asked one by one, and as a folder
def test_files_are_resolved_as_realpath_does(tmp_path, count):
    folder = tmp_path / "folder"
    folder.mkdir()
    os.symlink(folder, tmp_path / "link")
    names = [f"{number:03d}.png" for number in range(count)]
    for name in names[1:]:
        (folder / name).touch()
    os.symlink(folder / names[2], folder / "other.png")
    os.symlink(tmp_path / "nowhere", folder / "broken.png")
    paths = [str(tmp_path / "link" / name) for name in (*names, "other.png", "broken.png")]
    expected = {path: os.path.realpath(path) if os.path.exists(path) else None for path in paths}
    assert resolve_files(paths) == expected
    assert sum(real is None for real in expected.values()) == 2
    assert set(resolve_files([f"/nowhere/{name}" for name in names]).values()) == {None}


def test_existing_files_pass_in_no_time(semi_config):
    dataset = build(semi_config)
    start = time.perf_counter()
    check_training_set(dataset)
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("masks/train/{}.png", "1 training files do not exist, the first is the labeled mask"),
        ("images/train/{}.png", "1 training files do not exist, the first is the labeled image"),
    ],
)
def test_missing_files_stop_the_run(semi_config, data_root, file, message):
    dataset = build(semi_config)
    (data_root / file.format(dataset.labeled_ids[1])).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"{message} '.*{dataset.labeled_ids[1]}.*data_root"
    ):
        check_training_set(dataset)
    dataset.max_unreadable = 1
    check_training_set(dataset)


def test_masks_of_unlabelled_images_need_not_exist(semi_config, data_root):
    dataset = build(semi_config)
    for name in dataset.unlabeled_ids:
        (data_root / "masks" / "train" / f"{name}.png").unlink()
    check_training_set(dataset)
    (data_root / "images" / "train" / f"{dataset.unlabeled_ids[0]}.png").unlink()
    with pytest.raises(FileNotFoundError, match="the first is the unlabeled image"):
        check_training_set(dataset)


# --- Classes and repetitions ----------------------------------------------------------------------


@pytest.fixture
def logged(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(checks_module, "print_log", lambda text, *rest: lines.append(text))
    return lines


def rewrite_masks(dataset, data_root, change) -> None:
    for name in dataset.labeled_ids:
        path = data_root / "masks" / "train" / f"{name}.png"
        Image.fromarray(change(np.array(Image.open(path)))).save(path)


def test_every_class_seen_is_no_message(semi_config, logged):
    assert find_missing_classes(build(semi_config)) == ([], 1)  # the first mask has them all
    check_training_set(build(semi_config))
    assert not logged


def test_a_class_without_labelled_pixel_is_named(semi_config, data_root, logged):
    dataset = build(semi_config)
    rewrite_masks(dataset, data_root, lambda mask: np.where(mask == 2, 255, mask).astype(np.uint8))
    check_training_set(dataset)
    assert logged == [
        "no labelled pixel of 'right' in 4 of 4 labelled masks: the network cannot learn such a class"
    ]


def test_the_search_for_classes_is_bounded_and_says_so(semi_config, data_root, logged, monkeypatch):
    monkeypatch.setattr(checks_module, "MAX_MASKS", 2)
    dataset = build(semi_config)
    rewrite_masks(dataset, data_root, lambda mask: np.zeros_like(mask))
    check_training_set(dataset)
    assert "'left', 'right' in 2 of 4 labelled masks (the others were not read)" in logged[0]


def test_labels_are_mapped_as_the_data_set_maps_them(semi_config, data_root):
    """With reduce_zero_label, 0 is no class and 1 is the first one."""
    semi_config["labeled"]["reduce_zero_label"] = True
    dataset = build(semi_config)
    assert find_missing_classes(dataset) == (["right"], 4)


def test_unreadable_masks_are_left_to_the_loader(semi_config, data_root):
    dataset = build(semi_config)
    (data_root / "masks" / "train" / f"{dataset.labeled_ids[0]}.png").write_bytes(b"no picture")
    assert find_missing_classes(dataset) == ([], 1)


def test_links_to_one_file_and_labelled_images_in_the_pool_are_told(semi_config, data_root, logged):
    folder = data_root / "more"
    folder.mkdir()
    dataset = build(semi_config)
    target = data_root / "images" / "train" / f"{dataset.labeled_ids[0]}.png"
    for name in ("a.png", "b.png"):
        os.symlink(target, folder / name)
    semi_config["unlabeled"]["img_dir"] = str(folder)
    check_training_set(build(semi_config))
    assert logged == [
        "1 unlabeled images are the same file as another one (links): they are drawn more often",
        "1 of 4 labelled images are trained on without their masks, too",
    ]


def test_other_data_sets_pass(val_config):
    check_training_set(build(val_config))
