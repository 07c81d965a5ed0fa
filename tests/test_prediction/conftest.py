# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Checkpoints as runs leave them, those of the export's tests, whose networks know what they want."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from test_export.conftest import make_run  # noqa: F401


def sharpen(path: Path, config: Config | None) -> None:
    """Give the networks of a checkpoint classifiers that predict several classes, and store a config."""
    content = torch.load(path, weights_only=False)
    generator = torch.Generator().manual_seed(0)
    for name, value in content["state_dict"].items():
        if name.endswith("conv_seg.weight"):
            torch.nn.init.normal_(value, std=2.0, generator=generator)
            value -= value.mean(1, keepdim=True)  # features are positive
    if config is not None:
        content["meta"]["cfg"] = config.pretty_text
    torch.save(content, path)


#: Checkpoint, its config as a file and as a value, by what was asked for: a config is slow to print.
_MADE: dict[str, tuple[bytes, bytes, Config]] = {}


@pytest.fixture
def make_checkpoint(make_run, tmp_path):  # noqa: F811
    """A checkpoint of any method with its config, and a transform behind the loader, if it is given."""
    files = [tmp_path / name for name in ("iter_7.pth", "semi.py")]

    def make(method: str = "Supervised", head=None, step=None, **options) -> tuple[Path, Config]:
        key = repr((method, head, step, options))
        if key not in _MADE:
            path, config = make_run(method, head, **options)
            if step:
                config.test_dataloader.dataset.pipeline.insert(1, step)
            sharpen(path, config if step else None)
            _MADE[key] = (*(file.read_bytes() for file in files), config)
        *contents, config = _MADE[key]
        for file, content in zip(files, contents):
            file.write_bytes(content)
        return files[0], copy.deepcopy(config)

    return make


@pytest.fixture
def images(data_root):
    """Three images of 40 x 48 pixels."""
    return sorted((data_root / "images/val").glob("*.png"))
