# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Every planted fault is found, with its file and severity, and a clean set has none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_datasets.test_checks.clean_set import make_config, write_clean_set
from test_datasets.test_checks.planted import FAULTS, RELATED, use_lists

from mmsemi.datasets.checks import RULES, check_config


@pytest.fixture(scope="session")
def clean_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("clean")
    write_clean_set(root)
    return root


@pytest.fixture
def root(clean_root, tmp_path) -> Path:
    """A copy of the clean set, to be spoilt."""
    shutil.copytree(clean_root, tmp_path / "set")
    return tmp_path / "set"


def test_a_clean_set_has_no_finding(root):
    result = check_config(make_config(root))
    assert result.findings == []
    assert result.files == 2 * (8 + 4) + 4
    assert {s.name: len(s.items) for s in result.survey.sources} == {
        "labeled": 8,
        "unlabeled": 4,
        "val": 4,
    }


def test_a_clean_set_with_lists_and_a_split_has_no_finding(root):
    config = make_config(root)
    use_lists(config, root)
    config.train_dataloader.dataset.split = dict(type="RatioSplit", ratio=1 / 2, seed=0)
    config.train_dataloader.dataset.unlabeled = dict(pool="rest", serialize_data=False)
    assert check_config(config).findings == []


def test_every_rule_has_a_fault():
    planted = {code for _, _, code, _, _ in FAULTS.values()}
    # A training batch is the command's matter; the others have tests of their own.
    others = "batch-cannot-be-made val-image-in-test duplicate-file hidden-masks-read"
    others += " list-missing list-not-text list-empty mask-too-large void-value-differs"
    assert set(RULES) == planted | set(others.split())


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_found(name, root):
    spoil, severity, code, named, count = FAULTS[name]
    config = make_config(root)
    spoil(root, config)
    findings = check_config(config).findings
    own = [f for f in findings if f.code == code]
    assert own, [(f.code, f.text) for f in findings]
    assert own[0].severity == severity and own[0].count == count
    assert named in " ".join([own[0].source, own[0].text, *own[0].examples])
    assert own[0].fix and "\n" not in own[0].fix
    # Nothing that has nothing to do with it: at most the same fault as the data set words it.
    related = {code, "dataset-cannot-be-built", *RELATED.get(name, ())}
    assert {f.code for f in findings} <= related


def test_masks_of_unlabelled_images_are_never_opened(root, monkeypatch):
    """Neither by a check that builds nor by one that takes the data set apart."""
    from mmsemi.datasets.checks import scan

    opened = []
    read = scan.fileio.get
    monkeypatch.setattr(
        scan.fileio, "get", lambda path, *a, **k: opened.append(str(path)) or read(path, *a, **k)
    )
    config = make_config(root)
    config.train_dataloader.dataset.split = dict(type="CountSplit", count=3, seed=0)
    config.train_dataloader.dataset.unlabeled = dict(pool="rest", serialize_data=False)
    result = check_config(config)
    mine = {mask for s in result.survey.sources if s.name == "labeled" for mask in s.masks}
    masks = {path for path in opened if "/masks/train/" in path.replace("\\", "/")}
    assert len(mine) == 3 and masks == mine
    opened.clear()
    config.train_dataloader.dataset.split = dict(type="CountSplit", count=99, seed=0)
    assert [f.code for f in check_config(config).findings] == ["dataset-cannot-be-built"]
    assert not [path for path in opened if "/masks/train/" in path.replace("\\", "/")]
