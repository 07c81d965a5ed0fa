# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Further sources: the labelled images once more (``pool='labeled'``), or a data set of their own."""

from __future__ import annotations

import copy

import mmengine.fileio as fileio
import numpy as np
import pytest
from conftest import labeled_config, write_pair
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from PIL import Image

from mmsemi.datasets import Draw, MultiSourceSampler
from mmsemi.errors import ConfigError, DataError

GT = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomCoveringResize", ratios=[0.5, 1.0, 1.5], crop_size=(20, 24)),
    dict(type="RandomCrop", crop_size=(20, 24)),
    dict(type="PackSemiInputs"),
]
COUNTS = dict(labeled=1, unlabeled=2, gt=3)


def mask_of(image: str) -> str:
    return image.replace("/images/", "/masks/")


def build(config: dict, **gt):
    gt = dict(pool="labeled", pipeline=GT, **gt) if gt.get("pool") is None else gt
    return DATASETS.build(copy.deepcopy({**config, "sources": dict(gt=gt)}))


def two_folders(config: dict, root) -> dict:
    """The labelled images as two data sets of different pipelines in one."""
    for number in range(6):
        write_pair(root, f"m{number}", 50 + number, split="more")
    parts = [config["labeled"], labeled_config(root, "more")]
    return {**config, "labeled": dict(type="ConcatDataset", datasets=parts)}


@pytest.fixture(params=["one folder", "two folders"])
def config(request, semi_config, data_root) -> dict:
    return semi_config if request.param == "one folder" else two_folders(semi_config, data_root)


def test_only_images_that_the_split_labels_are_drawn(config, monkeypatch):
    """Over some epochs of the source; and no mask but theirs is ever opened."""
    opened, get = set(), fileio.get
    monkeypatch.setattr(
        fileio, "get", lambda path, *a, **k: opened.add(str(path)) or get(path, *a, **k)
    )
    dataset = build(config)
    labeled = set(dataset.img_paths("labeled"))
    assert set(dataset.img_paths("gt")) == labeled
    assert len(dataset.source_ranges["gt"]) == len(labeled) == len(dataset.labeled_ids)
    sampler = MultiSourceSampler(dataset, COUNTS, seed=0)
    drawn = []
    for number in range(2 * len(labeled)):
        batch = pseudo_collate([dataset[draw] for draw in sampler.batch(number)])
        samples = batch["data_samples"]
        assert [sample.source for sample in samples] == [
            n for n in COUNTS for _ in range(COUNTS[n])
        ]
        drawn += [sample.img_path for sample in samples if sample.source == "gt"]
        assert all("gt_sem_seg" in sample for sample in samples if sample.source == "gt")
    assert set(drawn) == labeled
    assert {drawn.count(path) for path in labeled} == {6}, "each image once an epoch"
    masks = {path for path in opened if "/masks/" in path}
    assert masks == {mask_of(path) for path in labeled}


def test_the_source_has_its_own_pipeline(config):
    dataset = build(config)
    shapes = {
        name: {tuple(dataset[index]["inputs"].shape) for index in span}
        for name, span in dataset.source_ranges.items()
    }
    assert shapes["gt"] == {(3, 20, 24)}
    assert shapes["labeled"].isdisjoint(shapes["gt"]) and shapes["unlabeled"].isdisjoint(
        shapes["gt"]
    )


def test_without_one_it_has_that_of_the_labelled_images(config):
    dataset = build(config, pool="labeled")
    for index, own in zip(dataset.source_ranges["labeled"], dataset.source_ranges["gt"]):
        first, second = dataset[Draw(index, 7)], dataset[Draw(own, 7)]
        assert first["inputs"].equal(second["inputs"])
        assert second["data_samples"].source == "gt"


def test_its_masks_are_checked(config):
    dataset = build(config)
    image = dataset.img_paths("gt")[0]
    path = mask_of(image)
    mask = np.array(Image.open(path))
    mask[:] = 7
    Image.fromarray(mask).save(path)
    with pytest.raises(DataError, match=f"gt image '{image}'.*'{path}'.* 7,"):
        dataset[dataset.source_ranges["gt"][0]]


def test_all_images_without_a_split(semi_config):
    dataset = build({**semi_config, "split": None})
    assert dataset.img_paths("gt") == dataset.img_paths("labeled")
    assert len(dataset.img_paths("gt")) == 12


@pytest.mark.parametrize(
    ("sources", "value"),
    [
        (dict(gt=dict(pool="all")), "sources.gt.pool='all'"),
        (dict(gt=dict(pool=None)), "sources.gt.pool=None"),
        (dict(gt=dict(pool="labeled", pipelin=GT)), "'pipelin' .*dataset.sources.gt.*'pipeline'"),
        (dict(labeled=dict(pool="labeled")), "sources.labeled.*dataset.labeled$"),
    ],
)
def test_settings_that_do_not_work_are_refused(semi_config, sources, value):
    with pytest.raises(ConfigError, match=value):
        DATASETS.build({**copy.deepcopy(semi_config), "sources": sources})
