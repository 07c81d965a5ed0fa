# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What unlabelled images get from the labelled pipeline goes by what its transforms do."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from mmcv.transforms import BaseTransform, RandomApply, RandomChoice
from mmseg.datasets import transforms as stock
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from mmsemi.datasets import LoadCheckedAnnotations, PackSemiInputs
from mmsemi.datasets.pipelines import insert_mask_checks, walk_transforms
from mmsemi.errors import ConfigError, DataError


@TRANSFORMS.register_module(force=True)
class OwnLoader(stock.LoadAnnotations):
    """Classes are stored in reverse."""

    def _load_seg_map(self, results: dict) -> None:
        super()._load_seg_map(results)
        mask = results["gt_seg_map"]
        results["gt_seg_map"] = np.where(mask == 255, mask, 2 - mask)


@TRANSFORMS.register_module(force=True)
class ReadsMask(BaseTransform):
    """Of no known family."""

    def transform(self, results: dict) -> dict:
        results["gt_seg_map"] = np.asarray(Image.open(results["seg_map_path"]))
        results["seg_fields"].append("gt_seg_map")
        return results


@TRANSFORMS.register_module(force=True)
class GetsMask(ReadsMask):
    def transform(self, results: dict) -> dict:
        mask = np.asarray(Image.open(results.get("seg_map_path")))
        results["gt_seg_map"] = mask
        results["seg_fields"].append("gt_seg_map")
        return results


@TRANSFORMS.register_module(force=True)
class UsesMask(BaseTransform):
    def transform(self, results: dict) -> dict:
        results["img"][results["gt_seg_map"] == 255] = 0
        return results


@TRANSFORMS.register_module(force=True)
class MayUseMask(BaseTransform):
    def transform(self, results: dict) -> dict:
        if results.get("gt_seg_map") is not None:
            results["gt_seg_map"] = results["gt_seg_map"][::-1].copy()
        results["img"] = results["img"][::-1].copy()
        return results


@TRANSFORMS.register_module(force=True)
class OwnCrop(stock.RandomCrop):
    pass


@TRANSFORMS.register_module(force=True)
class OwnColour(stock.PhotoMetricDistortion):
    pass


LOAD, MASK, PACK = (
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="PackSemiInputs"),
)
CROP = dict(type="RandomCrop", crop_size=(32, 32), cat_max_ratio=0.75)


def steps(config: dict, pipeline: list) -> list:
    """The transforms of unlabelled images, each of which is loaded once."""
    config = copy.deepcopy(config)
    config["labeled"]["pipeline"] = pipeline
    del config["unlabeled"]["pipeline"]
    dataset = DATASETS.build(config)
    for index in dataset.source_ranges["unlabeled"]:
        assert "gt_sem_seg" not in dataset[index]["data_samples"]
    assert "gt_sem_seg" in dataset[0]["data_samples"]
    return list(walk_transforms(dataset.pipeline("unlabeled")))


def kinds(config: dict, pipeline: list) -> list[str]:
    return [type(step).__name__ for step in steps(config, pipeline)]


@pytest.mark.parametrize(
    "loader", ["LoadAnnotations", "mmseg.LoadAnnotations", OwnLoader, "ReadsMask", "GetsMask"]
)
def test_whatever_loads_masks_is_left_out(semi_config, loader):
    found = kinds(semi_config, [LOAD, dict(type=loader), dict(CROP), PACK])
    assert found == ["LoadImageFromFile", "RandomCrop", "PackSemiInputs"]


def test_what_needs_a_mask_goes_and_what_may_use_one_stays(semi_config):
    pipeline = [
        LOAD,
        dict(type="ReadsMask"),
        dict(type="UsesMask"),
        dict(type="MayUseMask"),
        dict(CROP),
    ]
    pipeline += [dict(type="GenerateEdge"), dict(type="AddImageLabels"), PACK]
    assert kinds(semi_config, pipeline) == [
        "LoadImageFromFile",
        "MayUseMask",
        "RandomCrop",
        "PackSemiInputs",
    ]


@pytest.mark.parametrize(
    "crop",
    [
        dict(CROP),
        {**CROP, "type": "mmseg.RandomCrop"},
        {**CROP, "type": OwnCrop},
        dict(type="RandomChoice", transforms=[[dict(CROP)], [{**CROP, "type": "OwnCrop"}]]),
        dict(
            type="RandomApply",
            prob=1.0,
            transforms=dict(type=RandomApply, prob=1.0, transforms=[dict(CROP)]),
        ),
    ],
)
def test_crops_do_not_look_for_classes_at_any_depth(semi_config, crop):
    crops = [
        s for s in steps(semi_config, [LOAD, MASK, crop, PACK]) if isinstance(s, stock.RandomCrop)
    ]
    assert crops and all(step.cat_max_ratio == 1 for step in crops)


@pytest.mark.parametrize(
    "kind", ["PhotoMetricDistortion", "mmseg.PhotoMetricDistortion", OwnColour]
)
def test_colour_goes_at_any_depth(semi_config, kind):
    colour = dict(type=kind)
    nested = dict(type="RandomApply", prob=1.0, transforms=[colour])
    deeper = dict(
        type="RandomChoice",
        transforms=[[copy.deepcopy(nested)], [dict(type="RandomFlip", prob=1.0)]],
        prob=[0.9, 0.1],
    )
    found = steps(semi_config, [LOAD, MASK, colour, nested, deeper, dict(CROP), PACK])
    assert [type(step).__name__ for step in found] == [
        "LoadImageFromFile",
        "RandomFlip",
        "RandomCrop",
        "PackSemiInputs",
    ]


def test_alternatives_keep_their_probabilities(semi_config):
    colour = dict(type="PhotoMetricDistortion")
    choice = dict(
        type=RandomChoice,
        transforms=[[colour], [dict(type="RandomFlip", prob=1.0)]],
        prob=[0.9, 0.1],
    )
    config = copy.deepcopy(semi_config)
    config["labeled"]["pipeline"] = [LOAD, MASK, choice, dict(CROP), PACK]
    del config["unlabeled"]["pipeline"]
    (kept,) = [
        s
        for s in DATASETS.build(config).pipeline("unlabeled").transforms
        if isinstance(s, RandomChoice)
    ]
    assert kept.prob == [0.9, 0.1] and [len(part.transforms) for part in kept.transforms] == [0, 1]


def test_classes_in_the_place_of_names(semi_config):
    """As a config in pure Python has them."""
    pipeline = [
        LOAD,
        dict(type=stock.LoadAnnotations),
        {**CROP, "type": stock.RandomCrop},
        dict(type=PackSemiInputs),
    ]
    assert kinds(semi_config, pipeline) == ["LoadImageFromFile", "RandomCrop", "PackSemiInputs"]


def test_the_probe_changes_no_random_state(semi_config):
    np.random.seed(3)
    wanted = np.random.rand()
    np.random.seed(3)
    config = copy.deepcopy(semi_config)
    config["labeled"]["pipeline"] = [LOAD, dict(type="ReadsMask"), dict(CROP), PACK]
    del config["unlabeled"]["pipeline"]
    DATASETS.build(config)
    assert np.random.rand() == wanted


# --- Loaders of the labelled pipeline -------------------------------------------------------------


def test_a_checked_loader_keeps_all_settings(semi_config):
    loader = dict(
        type="LoadAnnotations",
        reduce_zero_label=False,
        imdecode_backend="cv2",
        backend_args=dict(backend="local"),
    )
    nested = dict(type="RandomApply", prob=1.0, transforms=[loader])
    for one in (loader, nested, dict(type="RandomChoice", transforms=[[loader]])):
        dataset = DATASETS.build(
            {**semi_config["labeled"], "pipeline": [LOAD, copy.deepcopy(one), dict(CROP), PACK]}
        )
        plain = next(
            s for s in walk_transforms(dataset.pipeline) if isinstance(s, stock.LoadAnnotations)
        )
        settings = dict(vars(plain))
        insert_mask_checks(dataset)
        (checked,) = [
            s for s in walk_transforms(dataset.pipeline) if isinstance(s, stock.LoadAnnotations)
        ]
        assert type(checked) is LoadCheckedAnnotations and checked.num_classes == 3
        assert {key: vars(checked)[key] for key in settings} == settings
        assert "gt_sem_seg" in dataset[0]["data_samples"]


def test_a_loader_of_the_users_own_stays_and_its_labels_are_checked(semi_config, data_root):
    semi_config["labeled"]["pipeline"][1] = dict(type="OwnLoader")
    dataset = DATASETS.build(semi_config)
    assert any(type(step) is OwnLoader for step in walk_transforms(dataset.pipeline("labeled")))
    dataset[0]
    for path in (data_root / "masks/train").glob("*.png"):
        Image.fromarray(np.full_like(np.asarray(Image.open(path)), 5)).save(path)
    with pytest.raises(DataError, match="value 253"):
        dataset[0]


@pytest.mark.parametrize(("own", "of_set"), [(True, False), (False, True)])
def test_reduce_zero_label_that_contradicts_the_data_set_is_refused(semi_config, own, of_set):
    labeled = semi_config["labeled"]
    labeled["reduce_zero_label"] = of_set
    labeled["pipeline"][1] = dict(type="LoadAnnotations", reduce_zero_label=own)
    with pytest.raises(ConfigError, match=f"reduce_zero_label={own}, .*reduce_zero_label={of_set}"):
        DATASETS.build(semi_config)[0]


def test_reduce_zero_label_on_which_both_agree_counts(semi_config):
    labeled = semi_config["labeled"]
    labeled["reduce_zero_label"] = True
    labeled["pipeline"][1] = dict(type="LoadAnnotations", reduce_zero_label=True)
    labeled["pipeline"] = labeled["pipeline"][:2] + labeled["pipeline"][-1:]
    dataset = DATASETS.build(semi_config)
    values = {
        v for i in range(4) for v in dataset[i]["data_samples"].gt_sem_seg.data.unique().tolist()
    }
    assert values == {0, 1, 255}
