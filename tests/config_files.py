# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Shipped configs for the tests: read once, built without weights."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
# Method folders whose READMEs and metafiles test_configs_documents.py reads.
FOLDERS = ("mean_teacher", "cutmix_mean_teacher", "fixmatch", "unimatch")


@functools.cache
def read(name: str) -> Config:
    """A config by folder and stem, e.g. 'unimatch/voc_92'; shared, so do not change it."""
    return Config.fromfile(CONFIGS / f"{name}.py")


def load(name: str) -> Config:
    """The same as a copy of its own."""
    return copy.deepcopy(read(name))


def on_meta(model: dict) -> torch.nn.Module:
    """A published net without its weights, and without memory for them."""
    model = copy.deepcopy(model)
    network = model["segmentor" if "segmentor" in model else "classifier"]
    network["backbone"]["init_cfg"] = None
    return _on_meta(json.dumps(model))


@functools.cache
def _on_meta(model: str) -> torch.nn.Module:
    model = ConfigDict(json.loads(model))
    if "classifier" in model:  # mmpretrain reads values of tensors while it builds
        return MODELS.build(model).to("meta")
    with torch.device("meta"):
        return MODELS.build(model)


def batch_sizes_hw(pipeline: list) -> list[tuple[int, int]]:
    """Height and width that a training pipeline ends with: its crop, or the size of whole images."""
    crops = [tuple(step.crop_size) for step in pipeline if step.type == "RandomCrop"]
    return crops or [tuple(step.scale[::-1]) for step in pipeline if step.type == "Resize"]


def header(name: str) -> str:
    """The comment above a config, as one line."""
    lines = (CONFIGS / f"{name}.py").read_text().splitlines()
    comment = [line[2:] for line in lines[: next(i for i, x in enumerate(lines) if x[:1] != "#")]]
    return " ".join(" ".join(comment).split())
