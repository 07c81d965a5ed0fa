# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What all cases share: a small data set, a config of its user, and runs of the tools."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", PYTHONWARNINGS="ignore")
ROOT = Path.cwd()
sys.path.insert(0, str(ROOT))
TMP = Path(tempfile.mkdtemp(prefix="bug_"))
atexit.register(shutil.rmtree, TMP, ignore_errors=True)

import numpy as np
from PIL import Image

BASE = """
_base_ = ["@ROOT@/configs/_base_/default_runtime.py"]
data = "@DATA@"
classes = ("ground", "left", "right")
crop = (32, 32)
sup_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"),
                dict(type="RandomCrop", crop_size=crop), dict(type="PackSemiInputs")]
test_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
labeled = dict(type="BaseSegDataset", data_root=data,
               data_prefix=dict(img_path="images/train", seg_map_path="masks/train"),
               img_suffix=".png", metainfo=dict(classes=classes), pipeline=sup_pipeline)
unlabeled = dict(img_dir=data + "/more")
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=2)),
    dataset=dict(type="SemiDataset", labeled=labeled, unlabeled=unlabeled))
val_set = dict(type="BaseSegDataset", data_root=data,
               data_prefix=dict(img_path="images/val", seg_map_path="masks/val"),
               img_suffix=".png", metainfo=dict(classes=classes), pipeline=test_pipeline, test_mode=True)
val_dataloader = dict(batch_size=1, num_workers=0, persistent_workers=False,
                      sampler=dict(type="DefaultSampler", shuffle=False), dataset=val_set)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
bn = dict(type="BN", requires_grad=True)
head = dict(type="FCNHead", in_channels=8, in_index=1, channels=8, num_convs=1, num_classes=3,
            dropout_ratio=0.0, norm_cfg=bn, loss_decode=dict(type="PixelCrossEntropy"))
net = dict(type="EncoderDecoder",
           backbone=dict(type="ResNetV1c", depth=18, base_channels=4, stem_channels=4, num_stages=2,
                         strides=(1, 2), dilations=(1, 1), out_indices=(0, 1), norm_cfg=bn),
           decode_head=head, train_cfg=dict(), test_cfg=dict(mode="whole"))
pre = dict(type="SemiSegDataPreProcessor", size=crop, mean=[123.675, 116.28, 103.53],
           std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
model = dict(type="MeanTeacher", segmentor=net, data_preprocessor=pre, unsup_weight=1.0)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01))
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=3, by_epoch=False)]
train_cfg = dict(type="SemiIterBasedTrainLoop", max_iters=2, val_interval=2)
val_cfg = dict(type="TeacherStudentValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="SegLocalVisualizer", vis_backends=vis_backends, name="visualizer")
"""


def scene(seed: int, hw: tuple[int, int] = (40, 48), classes: int = 3):
    """An image (H, W, 3) uint8 and its mask (H, W) of class indices; colours tell the classes."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(hw, np.uint8)
    for number in range(1, classes):
        mask[hw[0] // 4 :, hw[1] * number // classes :] = number
    image = mask[..., None] * 60 + rng.integers(20, 70, (*hw, 3))
    return image.clip(0, 255).astype(np.uint8), mask


def save(array, path: Path, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(path, **options)
    return path


def make_set(
    root: Path, train: int = 4, val: int = 2, more: int = 4, hw=(40, 48), classes: int = 3
) -> Path:
    """images/{train,val}, masks/{train,val} and more/ with plain 8-bit PNGs."""
    for split, count, start in (("train", train, 0), ("val", val, 100)):
        for number in range(count):
            image, mask = scene(start + number, hw, classes)
            save(image, root / "images" / split / f"{split}{number}.png")
            save(mask, root / "masks" / split / f"{split}{number}.png")
    for number in range(more):
        save(scene(200 + number, hw, classes)[0], root / "more" / f"more{number}.png")
    return root


def config(data: Path, extra: str = "", name: str = "cfg.py") -> Path:
    """The base config above plus lines of its user."""
    path = TMP / name
    text = BASE.replace("@ROOT@", str(ROOT)).replace("@DATA@", str(data))
    path.write_text(text + "\n" + extra, encoding="utf-8")
    return path


def tool(script: str, *args, timeout: int = 300, env: dict | None = None):
    """(exit code, output) of a stock command, run in the project root."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / script), *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{TMP}", **(env or {})},
    )
    return done.returncode, done.stdout


def train(cfg: Path, *args, **kwargs):
    return tool("train.py", cfg, "--work-dir", TMP / "work", *args, **kwargs)


def says(output: str, *words: str) -> bool:
    """Whether the output ends in a message for the user that has all words, without a traceback."""
    tail = output[output.rfind(".py: error:") :] if ".py: error:" in output else ""
    return "Traceback (most recent" not in output and all(w.lower() in tail.lower() for w in words)


def tail(output: str, lines: int = 6) -> str:
    return "\n".join(output.strip().splitlines()[-lines:])


def batch(cfg: Path):
    """(runner, branches) of the first training batch as the model gets it."""
    import logging

    logging.disable(logging.WARNING)
    from mmengine.config import Config
    from mmengine.runner import Runner

    import mmsemi  # noqa: F401

    loaded = Config.fromfile(str(cfg))
    loaded.work_dir = str(TMP / "inspect")
    runner = Runner.from_cfg(loaded)
    loop = runner.build_train_loop(runner._train_loop)
    return runner, runner.model.data_preprocessor(next(iter(loop.dataloader)), True)
