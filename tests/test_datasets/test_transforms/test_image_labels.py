# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from mmsemi.datasets import Draw
from mmsemi.datasets.transforms.image_labels import classes_in
from mmsemi.errors import ConfigError

LOAD = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]
SHRINK = dict(type="Resize", scale=(8, 8))


def run(tmp_path, *steps, mask):
    """A pipeline on one image whose mask is given."""
    Image.new("RGB", mask.shape[::-1]).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    return pipeline(
        dict(img_path=str(tmp_path / "a.png"), seg_map_path=str(tmp_path / "m.png"),
             seg_fields=[], reduce_zero_label=False, label_map=None)
    )  # fmt: skip


@pytest.fixture
def mask():
    """Background, one pixel of class 5, and void."""
    mask = np.zeros((40, 60), np.uint8)
    mask[7, 31], mask[-3:] = 5, 255
    return mask


def test_any_pixel_counts_and_void_does_not(mask):
    assert classes_in(mask) == (0, 5)
    assert classes_in(mask, ignore_index=5) == (0, 255)
    assert classes_in(np.full((4, 4), 255, np.uint8)) == ()


@pytest.mark.parametrize("pack", [
    dict(type="PackSemiInputs"),
    dict(type="PackSegInputs", meta_keys=("img_path", "image_labels")),
])  # fmt: skip
def test_small_objects_survive_the_resize(tmp_path, mask, pack):
    steps = [*LOAD, dict(type="AddImageLabels"), SHRINK, pack]
    sample = run(tmp_path, *steps, mask=mask)["data_samples"]
    assert sample.metainfo["image_labels"] == (0, 5)
    assert 5 not in sample.gt_sem_seg.data, "otherwise the test shows nothing"


def test_behind_a_crop_it_names_what_is_left(tmp_path, mask):
    crop = dict(type="CenterCrop", crop_size=(10, 10))
    steps = [*LOAD, crop, dict(type="AddImageLabels"), dict(type="PackSemiInputs")]
    sample = run(tmp_path, *steps, mask=mask)["data_samples"]
    assert sample.metainfo["image_labels"] == (0,)


def test_a_pipeline_without_labels_packs_none(tmp_path, mask):
    sample = run(tmp_path, *LOAD, dict(type="PackSemiInputs"), mask=mask)["data_samples"]
    assert "image_labels" not in sample.metainfo


def test_a_missing_mask_says_where_it_belongs(tmp_path, mask):
    with pytest.raises(ConfigError, match="AddImageLabels"):
        run(tmp_path, LOAD[0], dict(type="AddImageLabels"), mask=mask)


def test_in_a_semi_dataset(semi_config):
    """Labelled draws carry the classes of their own mask; the derived unlabelled pipeline has none."""
    pipeline = semi_config["labeled"]["pipeline"]
    pipeline.insert(2, dict(type="AddImageLabels"))
    del semi_config["unlabeled"]["pipeline"]
    dataset = DATASETS.build(semi_config)
    steps = dataset.pipeline("unlabeled").transforms
    assert "AddImageLabels" not in [type(step).__name__ for step in steps]
    for source, span in dataset.source_ranges.items():
        for index in span:
            sample = dataset[Draw(index, 3)]["data_samples"]
            if source == "labeled":
                with Image.open(sample.seg_map_path) as image:
                    values = set(np.unique(np.asarray(image)).tolist()) - {255}
                assert set(sample.metainfo["image_labels"]) == values
            else:
                assert "image_labels" not in sample.metainfo
