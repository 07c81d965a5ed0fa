# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A data set is used through its own indexing: wrappers, other types and overrides keep their meaning."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
from conftest import labeled_config, write_pair
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from mmsemi.datasets import Draw
from mmsemi.errors import ConfigError, DataError


def build(config: dict):
    return DATASETS.build(copy.deepcopy(config))


def with_labeled(config: dict, labeled: dict) -> dict:
    return {**config, "labeled": labeled}


@TRANSFORMS.register_module(force=True)
class HalfOfAnother(BaseTransform):
    """The right half of another image, as a wrapper that mixes images gives it."""

    def get_indices(self, dataset) -> int:
        return random.randint(0, len(dataset) - 1)

    def transform(self, results: dict) -> dict:
        other = results["mix_results"][0]
        for key in ("img", "gt_seg_map"):
            results[key] = np.concatenate([results[key][:, :16], other[key][:, 16:]], 1)
        return results


# --- Wrappers around the labelled data set --------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3])
def test_a_repeated_data_set_is_split_once_and_drawn_as_often(semi_config, times):
    plain = build(semi_config)
    inner = semi_config["labeled"]
    repeated = build(
        with_labeled(semi_config, dict(type="RepeatDataset", times=times, dataset=inner))
    )
    assert repeated.labeled_ids == plain.labeled_ids
    assert repeated.split_info == plain.split_info
    assert repeated.counts == dict(labeled=4 * times, unlabeled=8)
    drawn = [repeated[i]["data_samples"].img_path for i in repeated.source_ranges["labeled"]]
    assert sorted(drawn) == sorted(plain.img_paths("labeled") * times)
    assert sorted(repeated.hidden_masks()) == sorted(plain.hidden_masks())


def test_the_same_image_in_two_parts_is_still_refused(semi_config):
    twice = dict(type="ConcatDataset", datasets=[semi_config["labeled"]] * 2)
    with pytest.raises(DataError, match="'t00' twice"):
        build(with_labeled(semi_config, twice))


@pytest.mark.parametrize("how", ["plain", "two folders", "repeated"])
def test_mixed_images_are_labelled_ones(semi_config, data_root, monkeypatch, how):
    """The wrapper runs, and what it draws besides comes from the labelled part of the split."""
    parts, end = semi_config["labeled"], semi_config["labeled"]["pipeline"].pop()
    if how == "two folders":
        for number in range(6):
            write_pair(data_root, f"m{number}", 50 + number, split="more")
        more = labeled_config(data_root, "more", copy.deepcopy(parts["pipeline"]))
        parts = dict(type="ConcatDataset", datasets=[parts, more])
    elif how == "repeated":
        parts = dict(type="RepeatDataset", times=2, dataset=parts)
    mixed = dict(
        type="MultiImageMixDataset", dataset=parts, pipeline=[dict(type="HalfOfAnother"), end]
    )
    semi_config["labeled"] = mixed
    dataset = build(semi_config)
    opened, get = set(), fileio.get
    monkeypatch.setattr(
        fileio, "get", lambda path, *a, **k: opened.add(str(path)) or get(path, *a, **k)
    )
    span = dataset.source_ranges["labeled"]
    for seed in range(5):
        for index in span:
            dataset[Draw(index, seed)]
    images = {path for path in opened if "/images/" in path}
    assert images == set(dataset.img_paths("labeled")), "partners, and no other image"
    assert (
        len(images) == len(dataset.labeled_ids) < len(dataset.labeled_ids + dataset.unlabeled_ids)
    )
    assert not {path for path in opened if "/masks/" in path} & set(dataset.hidden_masks())


# --- Overrides ------------------------------------------------------------------------------------


@DATASETS.register_module(force=True)
class TensInMasks(BaseSegDataset):
    """Masks hold class * 10."""

    def prepare_data(self, idx: int) -> dict:
        info = self.get_data_info(idx)
        info["img"] = np.asarray(Image.open(info["img_path"]))[..., ::-1].copy()
        mask = np.asarray(Image.open(info["seg_map_path"]))
        info["gt_seg_map"] = np.where(mask == 255, mask, mask // 10).astype(np.uint8)
        info["seg_fields"] = ["gt_seg_map"]
        info["img_shape"] = info["ori_shape"] = info["img"].shape[:2]
        return self.pipeline(info)


@DATASETS.register_module(force=True)
class Marked(BaseSegDataset):
    def __getitem__(self, idx: int) -> dict:
        sample = super().__getitem__(idx)
        sample["inputs"][:, 0, 0] = 77
        return sample


def test_an_own_prepare_data_makes_the_sample(semi_config, data_root):
    for path in (data_root / "masks/train").glob("*.png"):
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask == 255, mask, mask * 10).astype(np.uint8)).save(path)
    labeled = semi_config["labeled"]
    labeled.update(type="TensInMasks", pipeline=labeled["pipeline"][2:])
    dataset = build(semi_config)
    for index in dataset.source_ranges["labeled"]:
        values = set(dataset[index]["data_samples"].gt_sem_seg.data.unique().tolist())
        assert values <= {0, 1, 2, 255} and values & {1, 2}
    del semi_config["unlabeled"]["pipeline"]
    with pytest.raises(ConfigError, match="TensInMasks .*unlabeled.pipeline"):
        build(semi_config)


def test_an_own_getitem_counts(semi_config):
    semi_config["labeled"]["type"] = "Marked"
    sample = build(semi_config)[Draw(0, 3)]
    assert (sample["inputs"][:, 0, 0] == 77).all()
    assert sample["data_samples"].source == "labeled" and sample["data_samples"].draw_seed == 3


@pytest.mark.parametrize("value", [3, 200])
def test_labels_of_any_loader_are_checked(semi_config, data_root, value):
    """TensInMasks divides by ten, which nothing but the result shows."""
    for path in (data_root / "masks/train").glob("*.png"):
        Image.fromarray(np.full_like(np.asarray(Image.open(path)), value * 10 % 256)).save(path)
    labeled = semi_config["labeled"]
    labeled.update(type="TensInMasks", pipeline=labeled["pipeline"][2:])
    with pytest.raises(DataError, match=f"has the value {value * 10 % 256 // 10}"):
        build(semi_config)[0]


def test_nothing_from_a_data_set_is_drawn_anew_within_its_source(semi_config):
    """A stock data set would draw from all its images, those without a label included."""

    @TRANSFORMS.register_module(force=True)
    class OftenNothing(BaseTransform):
        def transform(self, results: dict) -> dict | None:
            return None if np.random.rand() < 0.8 else results

    semi_config["labeled"]["pipeline"].insert(1, dict(type="OftenNothing"))
    semi_config["max_unreadable"] = 12
    dataset = build(semi_config)
    labeled = set(dataset.img_paths("labeled"))
    with pytest.warns(UserWarning, match="replaced"):
        drawn = {dataset[Draw(0, seed)]["data_samples"].img_path for seed in range(30)}
    assert drawn <= labeled and len(drawn) > 1


# --- The unlabelled source ------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path) -> list[str]:
    for folder, count in (("more", 3), ("other", 2)):
        (tmp_path / folder / "deep").mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 255, (40, 44, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / "deep" / f"{number}.png")
    return [str(tmp_path / folder) for folder in ("more", "other")]


def names(dataset) -> list[str]:
    return ["/".join(path.split("/")[-3:]) for path in dataset.img_paths("unlabeled")]


def test_several_folders_are_a_list(semi_config, folders, tmp_path):
    semi_config["unlabeled"] = dict(img_dir=folders)
    dataset = build(semi_config)
    wanted = [f"more/deep/{i}.png" for i in range(3)] + [f"other/deep/{i}.png" for i in range(2)]
    assert names(dataset) == wanted
    assert dataset[len(dataset) - 1]["data_samples"].source == "unlabeled"
    semi_config["unlabeled"]["pool"] = "rest"
    assert build(semi_config).counts["unlabeled"] == 5 + 8
    (tmp_path / "list.txt").write_text("more/deep/1.png\nother\\deep\\1\n")
    semi_config["unlabeled"] = dict(img_dir=folders, ann_file=str(tmp_path / "list.txt"))
    assert names(build(semi_config)) == ["more/deep/1.png", "other/deep/1.png"]
    semi_config["unlabeled"] = dict(img_dir=[*folders, str(tmp_path / "nowhere")])
    with pytest.raises(DataError, match="nowhere'"):
        build(semi_config)


def test_stock_wrappers_and_types_list_unlabelled_images(semi_config, folders, data_root):
    parts = [dict(type="UnlabeledDataset", img_dir=folder) for folder in folders]
    stock = labeled_config(data_root, pipeline=semi_config["unlabeled"]["pipeline"])
    for unlabeled, count in (
        (dict(type="ConcatDataset", datasets=parts), 5),
        (dict(type="RepeatDataset", times=2, dataset=parts[0]), 6),
        (stock, 12),
    ):
        dataset = build({**semi_config, "unlabeled": unlabeled, "split": None})
        assert dataset.counts["unlabeled"] == count
        sample = dataset[len(dataset) - 1]["data_samples"]
        assert sample.source == "unlabeled" and "gt_sem_seg" not in sample
        assert dataset.masks("unlabeled") == []


@TRANSFORMS.register_module(force=True)
class OwnMasks(BaseTransform):
    def transform(self, results: dict) -> dict:
        results["gt_seg_map"] = np.asarray(Image.open(results["seg_map_path"]))
        results["seg_fields"].append("gt_seg_map")
        return results


def test_masks_in_an_unlabelled_source_are_refused(semi_config, data_root):
    stock = labeled_config(data_root)
    with pytest.raises(ConfigError, match="LoadAnnotations"):
        build({**semi_config, "unlabeled": stock})
    stock["pipeline"][1] = dict(type="OwnMasks")
    dataset = build({**semi_config, "unlabeled": stock})
    with pytest.raises(ConfigError, match="unlabeled.pipeline"):
        dataset[len(dataset) - 1]


def test_a_pool_of_another_type_is_refused(semi_config, folders):
    other = dict(type="ConcatDataset", datasets=[dict(img_dir=folders[0])], pool="rest")
    with pytest.raises(ConfigError, match="pool='rest' .*ConcatDataset"):
        build({**semi_config, "unlabeled": other})
