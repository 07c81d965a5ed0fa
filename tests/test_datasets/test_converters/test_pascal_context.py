# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""PASCAL-Context: 459 categories to 60 classes."""

from __future__ import annotations

import ast
from pathlib import Path

import mmseg
import numpy as np
import pytest
from scipy.io import savemat

from mmsemi.datasets.converters import pascal_context
from mmsemi.datasets.converters.pascal_context import CLASSES, RAW_IDS, RAW_TO_CLASS
from mmsemi.errors import DataError

TRAIN, VAL = ["2008_000002", "2008_000003"], ["2008_000007"]


@pytest.fixture
def context(files):
    """VOC2010 and the .mat files; returns the raw ids by image."""
    raw = {}
    for part, names in (("train", TRAIN), ("val", VAL)):
        files.text(f"VOC2010/ImageSets/Main/{part}.txt", *reversed(names))
        for name in names:
            files.image(f"VOC2010/JPEGImages/{name}.jpg")
            raw[name] = files.random.integers(0, 460, (30, 40)).astype(np.uint16)
            raw[name].ravel()[:60] = [0, *RAW_IDS]
            (files.root / "trainval").mkdir(exist_ok=True)
            savemat(files.root / f"trainval/{name}.mat", {"LabelMap": raw[name]})
    return raw


def convert(root: Path, **settings) -> None:
    pascal_context.convert(root / "VOC2010", root / "trainval", **{"subset": True, **settings})


def test_the_table():
    assert len(RAW_IDS) == len(set(RAW_IDS)) == 59 and list(RAW_IDS) == sorted(RAW_IDS)
    assert list(CLASSES[1:]) == sorted(CLASSES[1:]), "mmseg's names are alphabetical, as labels.txt"
    assert RAW_TO_CLASS[0] == 0 and RAW_TO_CLASS[[1, 459]].tolist() == [0, 0]
    for number, name in {2: "aeroplane", 284: "person", 360: "sky", 458: "wood"}.items():
        assert CLASSES[RAW_TO_CLASS[number]] == name


def test_the_ids_are_those_of_the_stock_converter():
    """Its table, read from the source without importing it (it needs the Detail API)."""
    path = Path(mmseg.__file__).parent / ".mim/tools/dataset_converters/pascal_context.py"
    if not path.is_file():
        pytest.skip("this mmseg does not carry its tools")
    lists = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.List)]
    assert sorted(max(map(ast.literal_eval, lists), key=len)) == [0, *RAW_IDS]


def test_masks_and_lists(files, context, indices, snapshot, build_config):
    before = snapshot()
    convert(files.root)
    root = files.root / "VOC2010"
    for name, raw in context.items():
        mask = indices(root / f"SegmentationClassContext/{name}.png")
        for number, value in zip(raw.ravel().tolist(), mask.ravel().tolist()):
            assert value == (1 + RAW_IDS.index(number) if number in RAW_IDS else 0)
    lists = root / "ImageSets" / "SegmentationContext"
    assert (lists / "train.txt").read_text().split() == TRAIN, "sorted"
    after = snapshot()
    assert {key: after[key] for key in before} == before
    convert(files.root)
    assert snapshot() == after
    for name, legal in (("context_s4gan", range(60)), ("context_59", range(59))):
        train, val = build_config(name, "data/VOCdevkit/VOC2010", root, split=None)
        assert (train.counts["labeled"], len(val)) == (2, 1)
        values = np.unique(train[0]["data_samples"].gt_sem_seg.data).tolist()
        assert set(values) <= {*legal, 255} and len(val.metainfo["classes"]) == len(legal)


def test_the_name_list_is_compared(files, context):
    lines = [f"{number}: {name}" for number, name in zip(RAW_IDS, CLASSES[1:])]
    files.text("59_labels.txt", *reversed(lines))
    path = files.root / "59_labels.txt"
    convert(files.root, labels=path)
    for changed, value in (
        ([*lines[:-1], "458: woods"], "458 'woods'.*'wood'"),
        (lines[:-1], "59_labels.txt.*458"),
        ([*lines, "nothing"], "'nothing'"),
    ):
        files.text("59_labels.txt", *changed)
        with pytest.raises(DataError, match=value):
            convert(files.root, labels=path)


def test_half_made_input(files, context, snapshot):
    def refused(value: str, **settings) -> None:
        with pytest.raises(DataError, match=value):
            convert(files.root, **settings)

    refused("train.* 2 .* 4998", subset=False)
    path = files.root / f"trainval/{VAL[0]}.mat"
    for content, value in (
        ({"Other": np.zeros((30, 40))}, "LabelMap"),
        ({"LabelMap": np.full((30, 40), 460)}, "460-460"),
        ({"LabelMap": np.zeros((30, 41))}, "41x30"),
    ):
        savemat(path, content)
        refused(f"{VAL[0]}.mat.*{value}")
    path.unlink()
    before = snapshot()
    refused(f"val .*trainval.*{VAL[0]}")
    assert snapshot() == before
