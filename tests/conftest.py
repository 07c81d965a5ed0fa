# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Fixtures shared by all tests: a small data set on disk and a small model config."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path

# Before torch starts its pool: tiny tensors are slower on many threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from gloo_pool import GlooPool
from mmengine.registry import init_default_scope
from PIL import Image

import mmsemi  # noqa: F401  (applies compat and registers everything)

# Imported by test files, and full of asserts.
pytest.register_assert_rewrite("method_tester")

CLASSES = ("background", "left", "right")
REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_addoption(parser) -> None:
    parser.addoption(
        "--write-golden", action="store_true", help="store the golden loss curves anew"
    )


@pytest.fixture(autouse=True)
def mmseg_scope():
    """Bare type names mean mmseg's registries, as in every config."""
    init_default_scope("mmseg")


@pytest.fixture(autouse=True)
def plain_texts(monkeypatch):
    """No beautified config texts: mmengine makes one at each checkpoint, 80 % of a tiny run."""
    monkeypatch.setattr(
        "mmengine.config.config.FormatCode", lambda text, **_: (text, True), raising=False
    )  # OneDL does not format


@pytest.fixture(scope="session")
def gloo_pool() -> Iterator[GlooPool]:
    """Two gloo processes for all tests of the run, started by the first task."""
    pool = GlooPool()
    yield pool
    pool.close()


def write_pair(root: Path, name: str, seed: int, size_hw=(40, 48), split: str = "train") -> None:
    """One image with noise and its mask: class 1 left, 2 right of a seeded column, 0 above."""
    generator = np.random.default_rng(seed)
    height, width = size_hw
    mask = np.ones((height, width), np.uint8)
    mask[:, generator.integers(10, width - 10) :] = 2
    mask[: generator.integers(4, 12)] = 0
    mask[-2:] = 255
    colours = np.array([[40, 40, 200], [200, 40, 40], [40, 200, 40]], np.int16)
    image = colours[np.minimum(mask, 2)] + generator.integers(-30, 30, (height, width, 3))
    for folder in (root / "images" / split, root / "masks" / split):
        folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(
        root / "images" / split / f"{name}.png"
    )
    Image.fromarray(mask).save(root / "masks" / split / f"{name}.png")


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """12 training and 3 validation pairs of different sizes, in plain folders."""
    root = tmp_path / "set"
    for number in range(12):
        write_pair(root, f"t{number:02d}", number, (36 + number, 48 - number))
    for number in range(3):
        write_pair(root, f"v{number:02d}", 100 + number, split="val")
    return root


WEAK = [
    dict(type="RandomResize", scale=(48, 48), ratio_range=(0.7, 1.3), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(32, 32)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]


def labeled_config(root: Path, split: str = "train", pipeline: list | None = None) -> dict:
    """Config of a stock mmseg dataset over one of the folders."""
    default = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), *WEAK]
    return dict(
        type="BaseSegDataset",
        data_root=str(root),
        data_prefix=dict(img_path=f"images/{split}", seg_map_path=f"masks/{split}"),
        img_suffix=".png",
        metainfo=dict(classes=CLASSES, palette=[[0, 0, 0], [9, 9, 9], [99, 99, 99]]),
        pipeline=copy.deepcopy(default if pipeline is None else pipeline),
    )


@pytest.fixture
def semi_config(data_root: Path) -> dict:
    """Config of a SemiDataset: 4 labelled images, 8 unlabelled."""
    return dict(
        type="SemiDataset",
        labeled=labeled_config(data_root),
        unlabeled=dict(pipeline=[dict(type="LoadImageFromFile"), *copy.deepcopy(WEAK)]),
        split=dict(type="RatioSplit", ratio=1 / 3, seed=0),
    )


@pytest.fixture
def val_config(data_root: Path) -> dict:
    """Config of the stock validation dataset."""
    pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations"),
        dict(type="PackSegInputs"),
    ]
    return labeled_config(data_root, "val", pipeline)


@pytest.fixture
def segmentor_config() -> dict:
    """A tiny stock segmentor (FCN on a narrow ResNet-18) without pre-trained weights."""
    norm = dict(type="BN", requires_grad=True)
    return dict(
        type="EncoderDecoder",
        backbone=dict(
            type="ResNet",
            depth=18,
            base_channels=4,
            stem_channels=4,
            num_stages=2,
            strides=(1, 2),
            dilations=(1, 1),
            out_indices=(0, 1),
            norm_cfg=norm,
            init_cfg=None,
        ),
        decode_head=dict(
            type="FCNHead",
            in_channels=8,
            in_index=1,
            channels=8,
            num_convs=1,
            num_classes=len(CLASSES),
            norm_cfg=norm,
            dropout_ratio=0.1,
            loss_decode=dict(type="PixelCrossEntropy"),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    )


@pytest.fixture
def preprocessor_config() -> dict:
    """The semi-supervised preprocessor at the crop size of the tests."""
    return dict(
        type="SemiSegDataPreProcessor",
        size=(32, 32),
        mean=[120.0, 110.0, 100.0],
        std=[60.0, 55.0, 50.0],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    )
