# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import copy
import os
import shutil

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmsemi.datasets import LoadCheckedAnnotations, check_leakage


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
