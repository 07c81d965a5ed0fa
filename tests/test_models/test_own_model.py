# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""docs/own_model.md: its config, as it stands there, on a data set of VOC's layout."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import MODELS
from PIL import Image

from mmsemi.datasets.pipelines import weak_pipeline
from mmsemi.errors import ConfigError
from mmsemi.export import export_segmentor

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "own_model.md"


@pytest.fixture
def config_text() -> str:
    return re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)[1]


def write_voc(root: Path, unlabeled: Path) -> None:
    """4 train, 4 aug and 2 val images of 40x56 with masks of 3 of the 21 classes; 8 without."""
    generator = np.random.default_rng(0)
    folders = ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation")
    for folder in folders:
        (root / folder).mkdir(parents=True)
    unlabeled.mkdir()

    def image() -> Image.Image:
        return Image.fromarray(generator.integers(0, 255, (40, 56, 3), dtype=np.uint8))

    for split, count in dict(train=4, aug=4, val=2).items():
        names = [f"{split}{number}" for number in range(count)]
        (root / folders[3] / f"{split}.txt").write_text("\n".join(names))
        for name in names:
            image().save(root / folders[0] / f"{name}.jpg")
            mask = Image.fromarray(generator.integers(0, 3, (40, 56), dtype=np.uint8))
            mask.save(root / folders[2 if split == "aug" else 1] / f"{name}.png")
    for number in range(8):
        image().save(unlabeled / f"{number}.jpg")


def tiny(root: Path, unlabeled: Path) -> dict:
    """What makes the documented config fit a test: paths, widths, 32x32 crops, 2 iterations."""
    options = {
        "train_dataloader.dataset.unlabeled.img_dir": str(unlabeled),
        "val_dataloader.dataset.data_root": str(root),
        "val_dataloader.dataset.pipeline.1.scale": (64, 32),
        "data_preprocessor.size": (32, 32),
        "model.segmentor.pretrained": None,
        "model.segmentor.backbone.depth": 18,
        "model.segmentor.backbone.base_channels": 4,
        "model.segmentor.backbone.stem_channels": 4,
        "model.segmentor.decode_head.in_channels": 32,
        "model.segmentor.decode_head.channels": 8,
        "model.segmentor.auxiliary_head.in_channels": 16,
        "model.segmentor.auxiliary_head.channels": 4,
        "train_cfg.max_iters": 2,
        "train_cfg.val_interval": 2,
        "log_level": "ERROR",
    }
    for number in range(2):
        part = f"train_dataloader.dataset.labeled.datasets.{number}"
        options[f"{part}.data_root"] = str(root)
        options[f"{part}.pipeline.2.scale"] = (96, 48)
        options[f"{part}.pipeline.3.crop_size"] = (32, 32)
        options[f"{part}.pipeline.6.size"] = (32, 32)
    for loader in ("train_dataloader", "val_dataloader"):
        options |= {f"{loader}.num_workers": 0, f"{loader}.persistent_workers": False}
    return options


def test_the_documented_config_trains_validates_and_exports(config_text, tmp_path):
    lines = [line for line in config_text.splitlines() if line and not line.startswith("#")]
    assert len(lines) < 15
    path = tmp_path / "pspnet_cps.py"
    path.write_text(config_text)
    config = Config.fromfile(path)
    assert (
        config.model.segmentor.decode_head.type == "PSPHead" and "decode_head" not in config.model
    )
    assert config.train_cfg.max_iters == 20000

    write_voc(tmp_path / "voc", tmp_path / "unlabeled")
    config.merge_from_dict(tiny(tmp_path / "voc", tmp_path / "unlabeled"))
    config.work_dir = str(tmp_path / "run")
    config.test_dataloader = config.test_evaluator = config.test_cfg = None
    runner = Runner.from_cfg(config)
    data = runner.train_dataloader.dataset
    assert {name: len(span) for name, span in data.source_ranges.items()} == dict(
        labeled=8, unlabeled=8
    )
    model = runner.model
    assert type(model.mix).__name__ == "CutMix" and model.settings.unsup_weight == 1.0
    assert model.data_preprocessor.mean.flatten()[0] == 123.675
    runner.train()
    assert "unsup.loss_cps" in str(list(runner.message_hub.log_scalars))
    assert runner.message_hub.get_scalar("val/mIoU").current() >= 0

    assert export_segmentor(tmp_path / "run/iter_2.pth", tmp_path / "plain").own_parts == []
    plain_config = Config.fromfile(tmp_path / "plain/config.py")
    plain = MODELS.build(plain_config.model).eval()
    plain.load_state_dict(
        torch.load(tmp_path / "plain/weights.pth", weights_only=True)["state_dict"]
    )
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(plain(images), runner.model.branches[0].eval()(images))


def test_unlabelled_images_get_the_labelled_pipeline_without_masks():
    labeled = dict(
        type="PascalVOCDataset",
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations"),
            dict(type="RandomCrop", crop_size=(8, 8), cat_max_ratio=0.75),
            dict(type="PhotoMetricDistortion"),
            dict(type="PackSegInputs"),
        ],
    )
    wanted = [
        dict(type="LoadImageFromFile"),
        dict(type="RandomCrop", crop_size=(8, 8), cat_max_ratio=1.0),
        dict(type="PackSegInputs"),
    ]
    assert weak_pipeline(labeled) == wanted
    assert weak_pipeline(dict(type="ConcatDataset", datasets=[labeled])) == wanted
    assert labeled["pipeline"][2]["cat_max_ratio"] == 0.75
    with pytest.raises(ConfigError, match=r"PascalVOCDataset .*unlabeled\.pipeline"):
        weak_pipeline(dict(type="PascalVOCDataset"))
