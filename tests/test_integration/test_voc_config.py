# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A published VOC config, unchanged, on a small folder of the devkit's layout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]

# Only what a small CPU run needs: a small net and crop, plain batch norm, two iterations, and a
# random split, because the published one is checked against the 10,582 published ids.
OPTIONS = [
    "train_dataloader.dataset.split._delete_=True",
    "train_dataloader.dataset.split.type=RatioSplit",
    "train_dataloader.dataset.split.ratio=0.25",
    "train_dataloader.dataset.crop_size=(64,64)",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=False",
    "model.data_preprocessor.test_cfg.size=(96,96)",
    "model.segmentor.backbone.init_cfg=None",
    "model.segmentor.backbone.base_channels=16",
    "model.segmentor.backbone.stem_channels=16",
    "model.segmentor.backbone.norm_cfg.type=BN",
    "model.segmentor.decode_head.norm_cfg.type=BN",
    "model.segmentor.decode_head.in_channels=[64,512]",
    "model.segmentor.decode_head.channels=32",
    "train_cfg.max_iters=2",
    "train_cfg.num_validations=1",
    "default_hooks.logger.interval=1",
]


@pytest.fixture
def voc_folder(tmp_path: Path) -> Path:
    """data/VOCdevkit/VOC2012 with 12 training and 2 validation images, palette masks."""
    root = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug"):
        (root / folder).mkdir(parents=True)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    generator = np.random.default_rng(0)
    ids = [f"2007_{number:06d}" for number in range(14)]
    for number, name in enumerate(ids):
        mask = np.zeros((72, 90 - number), np.uint8)
        mask[20:50, 20:60] = 1 + number
        mask[18:20] = 255
        image = generator.integers(0, 60, (*mask.shape, 3)) + 10 * np.minimum(mask, 20)[..., None]
        Image.fromarray(image.astype(np.uint8)).save(root / "JPEGImages" / f"{name}.jpg")
        folder = "SegmentationClassAug" if number < 12 else "SegmentationClass"
        picture = Image.fromarray(mask, mode="P")
        picture.putpalette(list(range(256)) * 3)
        picture.save(root / folder / f"{name}.png")
    (lists / "trainaug.txt").write_text("\n".join(ids[:12]) + "\n")
    (lists / "val.txt").write_text("\n".join(ids[12:]) + "\n")
    return tmp_path


def run(folder: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(REPOSITORY / "tools/train.py"), "configs/cps/voc_1-8.py"]
    return subprocess.run(
        [*command, "--work-dir", "run", "--cfg-options", *options],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_the_published_config_trains_on_a_small_folder(voc_folder):
    done = run(voc_folder, *OPTIONS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "SemiDataset: 3 labeled, 9 unlabeled" in done.stdout + done.stderr
    scalars = next((voc_folder / "run").glob("*/vis_data/scalars.json")).read_text().splitlines()
    records = [json.loads(line) for line in scalars]
    losses = [record["loss"] for record in records if "loss" in record]
    assert len(losses) == 2 and all(0 < loss < 100 for loss in losses)
    validated = [record for record in records if "mIoU" in record]
    assert [record["step"] for record in validated] == [2] and "1/mIoU" in validated[0]
    assert (voc_folder / "run" / "iter_2.pth").is_file()


@pytest.mark.slow
def test_the_published_split_refuses_the_small_folder(voc_folder):
    done = run(voc_folder, *OPTIONS[3:])
    assert done.returncode == 2
    assert "split 'cps_voc_1of8' is defined on the 10582 images of PASCAL VOC 2012" in done.stderr
