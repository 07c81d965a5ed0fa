# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a SemiDataset says of its sources, and what can be built of one that cannot be built as a whole."""

from __future__ import annotations

import copy
import os

import pytest
from conftest import CLASSES, labeled_config
from mmseg.registry import DATASETS

from mmsemi.datasets.building import build_sources
from mmsemi.datasets.sources import Source
from mmsemi.errors import ConfigError, DataError


def build(config):
    return DATASETS.build(copy.deepcopy(config))


def built(config: dict):
    return build_sources(**{key: value for key, value in config.items() if key != "type"})


def test_sources_are_what_training_draws_from(semi_config):
    gt = dict(pool="labeled", pipeline=semi_config["labeled"]["pipeline"])
    dataset = build({**semi_config, "sources": dict(gt=gt)})
    assert dataset.counts == dict(labeled=4, unlabeled=8, gt=4)
    for name, source in dataset.sources.items():
        span = dataset.source_ranges[name]
        infos = [dataset.get_data_info(index) for index in span]
        assert len(source) == len(span) == len(source.items)
        assert source.img_paths == dataset.img_paths(name) == [info["img_path"] for info in infos]
        masks = [info.get("seg_map_path") for info in infos] if name != "unlabeled" else []
        assert source.masks == dataset.masks(name) == masks
        assert source.classes == CLASSES and len(source.palette) == 3
        assert (source.ignore_index, source.role) == (255, "train")
    assert [s.pool for s in dataset.sources.values()] == [None, "rest", "labeled"]
    assert dataset.sources["labeled"].indices == dataset.sources["gt"].indices
    hidden = [path.replace("/images/", "/masks/") for path in dataset.img_paths("unlabeled")]
    assert sorted(dataset.hidden_masks()) == sorted(hidden)


def test_masks_are_those_that_the_pipeline_opens(semi_config):
    semi_config["sources"] = dict(
        bare=dict(pool="labeled", pipeline=semi_config["unlabeled"]["pipeline"])
    )
    dataset = build(semi_config)
    assert dataset.masks("bare") == [] and len(dataset.img_paths("bare")) == 4


def test_repeated_data_sets_are_a_source(semi_config, data_root):
    """A stock wrapper draws each sample several times; as a stock set it has each once."""
    val = labeled_config(data_root, "val", semi_config["labeled"]["pipeline"])
    repeated = dict(type="RepeatDataset", times=2, dataset=val)
    semi_config["sources"] = dict(more=dict(type="ConcatDataset", datasets=[repeated, val]))
    dataset = build(semi_config)
    span = dataset.source_ranges["more"]
    names = [os.path.basename(dataset.get_data_info(i)["img_path"]) for i in span]
    assert names == ["v00.png", "v01.png", "v02.png"] * 3
    assert dataset[span[4]]["data_samples"].img_path.endswith("v01.png")
    source = Source.of_stock("val", dataset.sources["more"].dataset)
    assert len(source) == 6 and source.role == source.name == "val" and source.crop_hw is None


def test_one_mistake_does_not_hide_the_others(semi_config, tmp_path):
    semi_config["unlabeled"]["img_dir"] = str(tmp_path / "nowhere")
    semi_config["split"] = dict(type="CountSplit", count=99)
    semi_config["sources"] = dict(
        gt=dict(pool="labeled"), more=dict(pool="all"), bad=dict(type="NoSuchDataset")
    )
    found = built(semi_config)
    assert list(found.errors) == ["split", "unlabeled", "sources.more", "sources.bad"]
    assert isinstance(found.errors["split"], ConfigError)
    assert isinstance(found.errors["unlabeled"], DataError)
    assert list(found.sources) == ["labeled", "gt"]
    assert len(found.sources["labeled"]) == 12 and len(found.sources["gt"]) == 12
    # Nobody knows which of them are labelled.
    assert found.sources["labeled"].masks == found.sources["gt"].masks == []
    with pytest.raises(ConfigError, match="split.count=99"):
        build(semi_config)


def test_what_needs_no_labelled_set_is_built_without_one(semi_config, data_root):
    folder = str(data_root / "images/val")
    semi_config["labeled"]["data_root"] = "nowhere"
    found = built(semi_config)
    assert list(found.errors) == ["labeled"] and not found.sources, "the rest of nothing"
    semi_config["unlabeled"]["img_dir"] = folder
    semi_config["sources"] = dict(
        gt=dict(pool="labeled"), more=labeled_config(data_root, "val", [dict(type="LoadImageFromFile")])
    )  # fmt: skip
    found = built(semi_config)
    assert list(found.errors) == ["labeled"]
    assert {name: len(source) for name, source in found.sources.items()} == dict(
        unlabeled=3, more=3
    )
    with pytest.raises(DataError, match="labelled .*nowhere"):
        build(semi_config)
