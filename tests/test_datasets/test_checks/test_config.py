# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""All rules on a config: statistics, wrapped data sets, several processes, advice."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from PIL import Image

from mmsemi.datasets.checks import check_config, scan
from mmsemi.datasets.checks.config import classes_of_config
from mmsemi.datasets.checks.survey import class_histogram
from mmsemi.datasets.sources import Part

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def config(semi_config, val_config) -> Config:
    """The small data set of all tests."""
    return Config(
        dict(
            default_scope="mmseg",
            train_dataloader=dict(batch_size=6, dataset=semi_config),
            val_dataloader=dict(batch_size=1, dataset=val_config),
        )
    )


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ({}, ("model.decode_head.num_classes", None)),
        (
            dict(decode_head=[dict(num_classes=2), dict(num_classes=5)]),
            ("model.decode_head.num_classes", 5),
        ),
        (
            dict(segmentor=dict(decode_head=dict(num_classes=4))),
            ("model.segmentor.decode_head.num_classes", 4),
        ),
        (dict(classifier=dict(head=dict(num_classes=7))), ("model.classifier.head.num_classes", 7)),
    ],
)
def test_where_a_model_sets_its_classes(model, found):
    assert classes_of_config(model) == found


def test_the_numbers_are_those_of_the_files(config):
    result = check_config(config)
    masks = result.survey.sources[0].masks
    pixels = np.concatenate([np.asarray(Image.open(path)).ravel() for path in masks])
    stats = result.survey.stats["labeled"]
    assert stats.pixels.tolist() == [(pixels == k).sum() for k in range(3)]
    assert stats.void == (pixels == 255).sum()


def test_several_processes_find_the_same(config, data_root, monkeypatch):
    (data_root / "images/train/t00.png").write_bytes(b"")
    (data_root / "images/val/v00.png").write_text("no picture")
    alone = check_config(config, workers=1)
    monkeypatch.setattr(scan, "_CHUNK", 4)
    seen = []
    together = check_config(config, workers=2, progress=lambda *counts: seen.append(counts))
    assert alone.findings == together.findings and len(alone.findings) == 2
    assert seen[-1] == (alone.files, alone.files) and len(seen) > 3


def test_plain_mmseg_loaders_with_wrappers(config, data_root, val_config):
    """A stock training set inside RepeatDataset and ConcatDataset; no semi-supervised part."""
    train = copy.deepcopy(config.train_dataloader.dataset.labeled)
    # Indices in the file are 0..2 for background, left, right; this data set knows two of them.
    (data_root / "images/train/t00.png").unlink()
    twice = dict(type="RepeatDataset", times=3, dataset=train)
    other = {**val_config, "pipeline": train["pipeline"]}
    config.train_dataloader.dataset = dict(type="ConcatDataset", datasets=[twice, other])
    result = check_config(config)
    source = result.survey.sources[0]
    assert (source.name, source.role, len(source)) == ("train", "train", 11 + 3)
    codes = {f.code: f.count for f in result.findings}
    assert codes == {"mask-without-image": 1, "held-out-image-in-training": 3}


def test_a_test_loader_is_checked_unless_it_is_the_validation_one(config, val_config):
    config.test_dataloader = copy.deepcopy(config.val_dataloader)
    assert [s.name for s in check_config(config).survey.sources] == [
        "labeled",
        "unlabeled",
        "val",
    ]
    config.test_dataloader.dataset.indices = 2
    result = check_config(config)
    assert [len(source) for source in result.survey.sources] == [4, 8, 3, 2]
    assert [(f.code, f.count) for f in result.findings] == [("val-image-in-test", 2)]


def test_stored_values_are_mapped_as_training_maps_them():
    class Animals(BaseSegDataset):
        METAINFO = dict(classes=("cat", "dog", "cow"), palette=[[1, 1, 1], [2, 2, 2], [3, 3, 3]])

    mask = scan.MaskFacts("m.png", histogram={0: 5, 1: 6, 2: 7, 255: 8})
    lazy = dict(lazy_init=True, data_prefix=dict(img_path="a", seg_map_path="b"))
    for settings, classes, want in (
        ({}, 3, ([5, 6, 7], 8, {})),
        ({}, 2, ([5, 6], 8, {2: 7})),
        (dict(reduce_zero_label=True), 2, ([6, 7], 13, {})),
        (dict(metainfo=dict(classes=("cow", "cat"))), 2, ([7, 5], 14, {})),
    ):
        table = Part(Animals(**lazy, **settings)).label_table
        pixels, void, outside = class_histogram(mask, table, classes, 255)
        assert (pixels.tolist(), void, outside) == want


def test_masks_that_count_from_1_get_that_advice(config, data_root):
    for path in [*data_root.glob("masks/*/*.png")]:
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask < 255, mask + 1, mask).astype(np.uint8)).save(path)
    findings = [f for f in check_config(config).findings if f.code == "mask-value-outside"]
    assert [f.source for f in findings] == ["labeled", "val"]
    assert "reduce_zero_label=True" in findings[0].fix
    config.train_dataloader.dataset.labeled.reduce_zero_label = True
    config.val_dataloader.dataset.reduce_zero_label = True
    assert check_config(config).findings == []


def test_colour_masks_get_the_fitting_advice(config, data_root):
    labeled = check_config(config).survey.sources[0].masks
    palette = np.array(config.train_dataloader.dataset.labeled.metainfo.palette, np.uint8)
    for path in labeled[:2]:
        mask = np.asarray(Image.open(path))
        Image.fromarray(palette[np.where(mask < 3, mask, 0)]).save(path)
    finding = next(f for f in check_config(config).findings if f.code == "mask-is-colour")
    assert finding.count == 2 and "palette" in finding.fix
    for path in labeled[:2]:
        Image.fromarray(np.stack([mask] * 3, -1)).save(path)
    finding = next(f for f in check_config(config).findings if f.code == "mask-is-colour")
    assert "channels" in finding.fix


def test_a_wrong_mask_suffix_names_a_file_of_the_folder(config):
    config.val_dataloader.dataset.seg_map_suffix = "_mask.png"
    finding = next(f for f in check_config(config).findings if f.code == "mask-missing")
    assert finding.count == 3 and "v00.png" in finding.fix and "'_mask.png'" in finding.fix


@pytest.mark.parametrize("name", ["cps/shapes_1-8", "cps/camvid_1-8"])
def test_shipped_data_sets_are_clean(name, tmp_path):
    """The built-in set, made here, and CamVid where it is."""
    config = Config.fromfile(REPOSITORY / "configs" / f"{name}.py")
    root = tmp_path / "shapes"
    if "camvid" in name:
        root = REPOSITORY.parent / "shared" / "data" / "camvid"
        if not root.is_dir():
            pytest.skip("CamVid is not part of the repository")
    config = Config(dict(config._cfg_dict))
    config.test_dataloader = config.val_dataloader
    for dataset in (config.train_dataloader.dataset.labeled, config.val_dataloader.dataset):
        dataset.data_root = str(root)
        if "shapes" in name:
            dataset.generate = dict(num_train=24, num_val=6)
    result = check_config(config)
    # So few of the built-in images may well lack a class.
    assert {f.code for f in result.findings} <= {"class-never-labelled", "class-not-in-val"}
    if "camvid" in name:
        assert {source.name: len(source) for source in result.survey.sources} == {
            "labeled": 45,
            "unlabeled": 322,
            "val": 101,
        }
