# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Folders of images and masks for ``mmsemi init``, and what it writes for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from mmsemi.cli.init import main
from mmsemi.utils.config_files import read_config

SIZE_WH = (48, 40)


def write_image(path: str, seed: int, size_wh=SIZE_WH, **save) -> None:
    """Large blobs of colour, different for each seed, so that no two look alike."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize(size_wh, Image.Resampling.BICUBIC).save(path, **save)


def labels(size_wh=SIZE_WH, values=(0, 1)) -> np.ndarray:
    """Vertical bands of the values."""
    width, height = size_wh
    row = np.array(values)[np.arange(width) * len(values) // width]
    return (
        np.tile(row, (height,) + (1,) * row.ndim) if row.ndim == 1 else np.tile(row, (height, 1, 1))
    )


def write_mask(path: str, stored: np.ndarray, **save) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stored).save(path, **save)


def write_set(stored: np.ndarray, count: int = 6, unlabeled: int = 4) -> None:
    """``images/i0.png`` with ``masks/i0.png``, ..., and ``more/u0.png``, ..."""
    for number in range(count):
        write_image(f"images/i{number}.png", number)
        write_mask(f"masks/i{number}.png", stored)
    for number in range(unlabeled):
        write_image(f"more/u{number}.png", 100 + number)


def init(*options: str, classes: str = "ground,object") -> Config:
    arguments = ["--images", "images", "--masks", "masks", "--classes", classes]
    if "--unlabeled" not in options and Path("more").is_dir():
        arguments += ["--unlabeled", "more"]
    assert main([*arguments, *options, "--force"]) == 0
    return read_config("my.py")


def lists() -> dict[str, list[str]]:
    return {p.stem: p.read_text().splitlines() for p in Path("my_lists").iterdir()}


def row_of_labels(config: Config) -> list[int]:
    """The middle row of the first validation mask as the config loads it, without repetitions."""
    dataset = DATASETS.build(config.val_dataloader.dataset)
    row = dataset[0]["data_samples"].gt_sem_seg.data[0, 20].tolist()
    return [value for value, before in zip(row, [None, *row]) if value != before]
