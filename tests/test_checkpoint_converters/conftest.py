# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Checkpoints with the names and shapes of the released code. One value a tensor keeps them small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

NORM = ("weight", "bias", "running_mean", "running_var")


def filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensors of one value each, all different, that take 4 bytes on disk."""
    return {
        name: torch.full((1,) * len(shape), float(number)).expand(shape)
        for number, (name, shape) in enumerate(shapes.items(), start=1)
    }


def deeplabv2_shapes(num_classes: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes as the spec lays the net out, independent of mmseg's ResNet."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add_norm(name: str, channels: int) -> None:
        shapes.update({f"{name}.{part}": (channels,) for part in NORM})

    shapes["conv1.weight"] = (64, 3, 7, 7)
    add_norm("bn1", 64)
    before = 64
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (23, 256), (3, 512)], start=1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            convs = [(width, before, 1, 1), (width, width, 3, 3), (width * 4, width, 1, 1)]
            for number, shape in enumerate(convs, start=1):
                shapes[f"{name}.conv{number}.weight"] = shape
                add_norm(f"{name}.bn{number}", shape[0])
            if block == 0:
                shapes[f"{name}.downsample.0.weight"] = (width * 4, before, 1, 1)
                add_norm(f"{name}.downsample.1", width * 4)
            before = width * 4
    for branch in range(4):
        shapes[f"layer5.conv2d_list.{branch}.weight"] = (num_classes, 2048, 3, 3)
        shapes[f"layer5.conv2d_list.{branch}.bias"] = (num_classes,)
    return shapes


@pytest.fixture
def released(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, Tensor]]]:
    """A file of the released DeepLabv2, and its tensors by bare name."""

    def make(num_classes: int = 21, prefix: str = "", wrap: str = "", legacy: bool = False):
        tensors = filled(deeplabv2_shapes(num_classes))
        content = {prefix + name: value for name, value in tensors.items()}
        path = tmp_path / "released.pth"
        torch.save(
            {"epoch": 3, wrap: content} if wrap else content,
            path,
            _use_new_zipfile_serialization=not legacy,
        )
        return path, tensors

    return make
