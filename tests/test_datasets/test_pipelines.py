# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One crop size for all transforms that take one, at any depth."""

from __future__ import annotations

import copy

import pytest
from mmcv.transforms import BaseTransform
from mmengine.config import ConfigDict
from mmseg.datasets.transforms import RandomCrop
from mmseg.registry import DATASETS, TRANSFORMS

from mmsemi.datasets.pipelines import fill_crop_size, walk_transforms
from mmsemi.errors import ConfigError

SIZE = (24, 28)


@TRANSFORMS.register_module(force=True)
class PassedOnCrop(RandomCrop):
    """Takes the crop size of its base."""

    def __init__(self, name: str, **kwargs) -> None:
        super().__init__(**kwargs)


@TRANSFORMS.register_module(force=True)
class OptionalCrop(BaseTransform):
    """Does without a crop size."""

    def __init__(self, crop_size: tuple[int, int] | None = None) -> None:
        self.crop_size = crop_size

    def transform(self, results: dict) -> dict:
        return results


def build(config: dict, **settings):
    return DATASETS.build(copy.deepcopy({**config, **settings}))


def crops(dataset, source: str) -> list[tuple[int, int] | None]:
    steps = walk_transforms(dataset.pipeline(source))
    return [step.crop_size for step in steps if hasattr(step, "crop_size")]


def replace_crops(pipeline: list[dict], *transforms: dict) -> None:
    position = next(i for i, step in enumerate(pipeline) if step["type"] == "RandomCrop")
    pipeline[position : position + 1] = transforms


@pytest.fixture
def config(semi_config) -> dict:
    """No transform sets a crop size; the unlabelled pipeline is derived."""
    replace_crops(semi_config["labeled"]["pipeline"], dict(type="RandomCrop"))
    del semi_config["unlabeled"]
    return {**semi_config, "unlabeled": {}}


@pytest.mark.parametrize("given", [SIZE, list(SIZE), 24], ids=str)
def test_every_source_gets_it(config, given):
    config["sources"] = dict(
        gt=dict(pool="labeled", pipeline=copy.deepcopy(config["labeled"]["pipeline"])),
        more=copy.deepcopy(config["labeled"]),
    )
    untouched = copy.deepcopy(config)
    dataset = build(config, crop_size=given)
    size = (24, 24) if given == 24 else SIZE
    assert dataset.crop_size == size
    for name in ("labeled", "unlabeled", "gt", "more"):
        assert crops(dataset, name) == [size]
        sample = dataset[dataset.source_ranges[name][0]]
        assert tuple(sample["inputs"].shape[1:]) == size
    assert config == untouched


def test_wrapped_data_sets_get_it(config):
    config["labeled"] = dict(type="ConcatDataset", datasets=[config["labeled"]])
    dataset = build(config, crop_size=SIZE)
    assert crops(dataset, "labeled") == crops(dataset, "unlabeled") == [SIZE]


NESTED = [
    dict(type="RandomChoice", transforms=[[dict(type="RandomCrop")], [dict(type="RandomFlip", prob=1.0)]]),
    dict(type="RandomApply", transforms=dict(type="RandomCrop")),
    dict(type="TransformBroadcaster", transforms=[dict(type="RandomCrop")]),
    dict(
        type="KeyMapper",
        transforms=[dict(type="RandomApply", transforms=[dict(type=RandomCrop)], prob=0.5)],
    ),
    dict(type="mmseg.RandomCrop"),
    dict(type="PassedOnCrop", name="mine"),
    dict(type="OptionalCrop"),
    dict(type="RandomCoveringResize", ratios=[1.0]),
]  # fmt: skip


@pytest.mark.parametrize("transform", NESTED, ids=lambda transform: str(transform["type"]))
def test_transforms_at_any_depth_get_it_by_their_signature(config, transform):
    pipeline = config["labeled"]["pipeline"]
    replace_crops(pipeline, copy.deepcopy(transform))
    taken = ConfigDict(config["labeled"])
    assert fill_crop_size(taken, SIZE) == 1
    assert repr(SIZE) in repr(taken) and "(28, 24)" not in repr(taken)
    if transform["type"] in ("TransformBroadcaster", "KeyMapper"):
        return  # they need keys that this data set has not
    assert crops(build(config, crop_size=SIZE), "labeled") == [SIZE]


def test_the_one_stock_transform_that_has_it_the_other_way_round(config):
    taken = dict(pipeline=[dict(type="CenterCrop")])
    assert fill_crop_size(taken, SIZE) == 1
    assert taken["pipeline"][0]["crop_size"] == SIZE[::-1]


def test_a_size_of_its_own_wins(config):
    pipeline = copy.deepcopy(config["labeled"]["pipeline"])
    replace_crops(pipeline, dict(type="RandomCrop", crop_size=(16, 20)))
    dataset = build(config, crop_size=SIZE, unlabeled=dict(pipeline=pipeline[:1] + pipeline[2:]))
    assert crops(dataset, "labeled") == [SIZE] and crops(dataset, "unlabeled") == [(16, 20)]


def test_a_size_that_nothing_takes_is_refused(semi_config):
    """All pipelines of the fixture set their own."""
    assert build(semi_config).crop_size is None
    with pytest.raises(ConfigError, match=r"train_dataloader.dataset.crop_size=\(24, 28\)"):
        build(semi_config, crop_size=SIZE)


def test_a_missing_size_is_named(config):
    with pytest.raises(ConfigError, match="RandomCrop .*train_dataloader.dataset.crop_size"):
        build(config)
    replace_crops(config["labeled"]["pipeline"], dict(type="OptionalCrop"))
    assert crops(build(config), "labeled") == [None], "it does without"


@pytest.mark.parametrize("size", [(24,), (24, 28, 3), 0, (24, -1), "24", 2.5, (2.5, 3)], ids=repr)
def test_a_size_must_be_two_whole_numbers(config, size):
    with pytest.raises(ConfigError, match="train_dataloader.dataset.crop_size"):
        build(config, crop_size=size)
