# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A small set without a fault, and the config that names it."""

from __future__ import annotations

import copy
import zlib
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

CLASSES = ("background", "left", "right")
PALETTE = [[0, 0, 0], [200, 40, 40], [40, 200, 40]]
WEAK = [
    dict(type="RandomCrop", crop_size=(32, 32)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
SUP = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), *WEAK]


def write_image(path: Path, seed: int, size_wh=(48, 40), mode: str = "RGB") -> Path:
    """A picture of noise, different for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size_wh[1], size_wh[0], 3)
    noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path)
    return path


def write_mask(path: Path, size_wh=(48, 40), values=(0, 1, 2, 255)) -> Path:
    """A palette mask with vertical bands of the values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = np.array(values, np.uint8)[np.arange(size_wh[0]) * len(values) // size_wh[0]]
    mask = Image.fromarray(np.tile(bands, (size_wh[1], 1)))
    # All 256 colours: with fewer, Pillow stores fewer bits and loses 255.
    mask.putpalette([v for colour in PALETTE for v in colour] + [9] * 759)
    mask.save(path)
    return path


def write_clean_set(root: Path) -> None:
    """Folders ``images``, ``masks`` and ``more``, lists ``train.txt`` and ``val.txt``."""
    for split, count in (("train", 8), ("val", 4)):
        for number in range(count):
            name = f"{split}_{number:02d}.png"
            write_image(root / "images" / split / name, zlib.crc32(name.encode()))
            write_mask(root / "masks" / split / name)
        names = [f"{split}_{number:02d}" for number in range(count)]
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")
    for number in range(4):
        name = f"more_{number:02d}.png"
        write_image(root / "more" / name, zlib.crc32(name.encode()))


def make_config(root: Path) -> Config:
    """8 labelled images, 4 unlabelled ones from another folder, 4 for validation."""
    labeled = dict(
        type="BaseSegDataset",
        data_root=str(root),
        data_prefix=dict(img_path="images/train", seg_map_path="masks/train"),
        img_suffix=".png",
        metainfo=dict(classes=CLASSES, palette=PALETTE),
        pipeline=SUP,
        serialize_data=False,  # mmengine collects garbage for it, half a second in a test process
    )
    val = copy.deepcopy(labeled)
    val["data_prefix"] = dict(img_path="images/val", seg_map_path="masks/val")
    val["pipeline"] = [*SUP[:2], dict(type="PackSegInputs")]
    config = dict(
        default_scope="mmseg",
        custom_imports=dict(imports=["mmsemi"]),
        model=dict(
            type="CPS",
            data_preprocessor=dict(
                type="SemiSegDataPreProcessor",
                size=(32, 32),
                mean=[120.0, 110.0, 100.0],
                std=[60.0, 55.0, 50.0],
                bgr_to_rgb=True,
                mix=dict(type="CutMix"),
            ),
            segmentor=dict(type="EncoderDecoder", decode_head=dict(num_classes=3)),
        ),
        train_dataloader=dict(
            batch_size=6,
            num_workers=0,
            sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=4)),
            dataset=dict(
                type="SemiDataset",
                labeled=labeled,
                unlabeled=dict(
                    img_dir=str(root / "more"),
                    pipeline=[dict(type="LoadImageFromFile"), *WEAK],
                    serialize_data=False,
                ),
            ),
        ),
        val_dataloader=dict(batch_size=1, num_workers=0, dataset=val),
    )
    return Config(copy.deepcopy(config))
