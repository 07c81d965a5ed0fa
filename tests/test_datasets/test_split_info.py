# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a SemiDataset does with its split: guards, name, and the account for log and checkpoint."""

from __future__ import annotations

import copy

import pytest
from mmseg.registry import DATASETS, TASK_UTILS

from mmsemi.datasets import RatioSplit
from mmsemi.datasets.splits import PROTOCOLS, PublishedSplit, ids_sha256
from mmsemi.errors import DataError


def build(config):
    return DATASETS.build(copy.deepcopy(config))


def test_name_counts_and_hashes_of_both_halves(semi_config):
    dataset = build(semi_config)
    names = [f"t{number:02d}" for number in range(12)]
    labeled, unlabeled = RatioSplit(1 / 3, seed=0)(names)
    assert dataset.split_info == dict(
        name=f"RatioSplit(ratio={1 / 3}, seed=0)",
        labeled=4,
        labeled_sha256=ids_sha256(labeled),
        unlabeled=8,
        unlabeled_sha256=ids_sha256(unlabeled),
    )
    dataset.split_info["name"] = "changed"
    assert dataset.split_info["name"] != "changed"


def test_another_pool_is_what_is_told(semi_config):
    semi_config["unlabeled"]["pool"] = "all"
    info = build(semi_config).split_info
    assert (info["labeled"], info["unlabeled"]) == (4, 12)
    del semi_config["unlabeled"], semi_config["split"]
    info = build(semi_config).split_info
    assert (info["name"], info["labeled"], info["unlabeled"]) == ("none (all masks)", 12, 0)


@pytest.fixture
def own_split():
    """A split of the user's own, whose answer a test sets."""

    class OwnSplit:
        answer = (["t00"], ["t01"])
        allow_overlap = False

        def __call__(self, ids):
            return self.answer

    TASK_UTILS.register_module(name="OwnSplit", module=OwnSplit, force=True)
    yield OwnSplit
    TASK_UTILS.module_dict.pop("OwnSplit")


def test_splits_of_the_users_own_are_checked(semi_config, own_split):
    semi_config["split"] = dict(type="OwnSplit")
    assert build(semi_config).split_info["name"] == "OwnSplit()"
    own_split.answer = (["t00"], ["t00", "t01"])
    with pytest.raises(DataError, match=r"OwnSplit\(\) .*'t00'"):
        build(semi_config)
    own_split.allow_overlap = True
    assert build(semi_config).split_info["unlabeled"] == 2
    own_split.answer = (["t00", "t00"], [])
    with pytest.raises(DataError, match=r"OwnSplit\(\) .*'t00'.* labelled"):
        build(semi_config)


def test_only_the_protocol_that_says_so_overlaps():
    assert [name for name, p in PROTOCOLS.items() if p.allow_overlap] == ["cac_city_2975"]
    assert PublishedSplit("cac_city_2975").allow_overlap
    assert not PublishedSplit("cps_voc_1of8").allow_overlap


def test_a_published_split_knows_the_image_folder(semi_config, data_root, monkeypatch):
    """A VOC devkit has VOC train beside the images, which some splits need."""
    seen = []
    answer = (["t00"], ["t01"])

    def call(self, ids):
        seen.append(self.image_folder)
        return answer

    monkeypatch.setattr(PublishedSplit, "__call__", call)
    semi_config["split"] = dict(type="PublishedSplit", name="classic_voc_1464")
    assert build(semi_config).split_info["name"] == "classic_voc_1464"
    assert seen == [str(data_root / "images" / "train")]
