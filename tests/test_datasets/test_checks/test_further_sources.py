# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What is said of a source that draws the labelled images once more."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from mmengine.config import Config
from test_datasets.test_checks.clean_set import make_config, write_clean_set

from mmsemi.datasets.checks import check_config


@pytest.fixture
def root(tmp_path) -> Path:
    write_clean_set(tmp_path)
    return tmp_path


def with_gt_source(config: Config) -> Config:
    """The labelled images once more, in a pipeline whose crop is larger than they are."""
    gt = copy.deepcopy(config.train_dataloader.dataset.labeled.pipeline)
    gt[2:3] = [dict(type="RandomCrop", crop_size=(64, 64))]
    config.train_dataloader.dataset.sources = dict(gt=dict(pool="labeled", pipeline=gt))
    return config


def test_the_labelled_images_as_a_further_source(root):
    """It has its own line and what its pipeline causes; nothing of it counts as an overlap."""
    config = with_gt_source(make_config(root))
    config.train_dataloader.dataset.split = dict(type="RatioSplit", ratio=1 / 2, seed=0)
    config.train_dataloader.dataset.unlabeled = dict(pool="all", serialize_data=False)
    result = check_config(config)
    sources = {source.name: source for source in result.survey.sources}
    assert sources["gt"].items and sources["gt"].pool == "labeled"
    assert sources["gt"].img_paths == sources["labeled"].img_paths
    assert sources["gt"].masks == sources["labeled"].masks and len(sources["gt"].masks) == 4
    found = {(finding.code, finding.source) for finding in result.findings}
    assert found == {
        ("image-smaller-than-crop", "gt"),
        ("labeled-image-among-unlabeled", "labeled and unlabeled"),
    }
    steps = config.train_dataloader.dataset.sources.gt.pipeline
    steps.insert(2, dict(type="RandomCoveringResize", ratios=[1.0], crop_size=(64, 64)))
    findings = check_config(config).findings
    assert {finding.source for finding in findings} == {"labeled and unlabeled"}


def test_a_fault_of_a_labelled_file_is_reported_once(root):
    config = with_gt_source(make_config(root))
    config.train_dataloader.dataset.sources.gt.pop("pipeline")
    mask = root / "masks/train/train_03.png"
    mask.write_bytes(mask.read_bytes()[: mask.stat().st_size // 2])
    findings = check_config(config).findings
    assert [(finding.source, finding.severity) for finding in findings] == [("labeled", "error")]
    config.train_dataloader.dataset.split = dict(type="CountSplit", count=99, seed=0)
    assert [f.code for f in check_config(config).findings] == ["dataset-cannot-be-built"]
