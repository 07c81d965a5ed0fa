# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Weight files in the layout of the released encoders, with the numbers of docs/encoders.md."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmsemi.models.backbones.dinov3 import rope_periods
from mmsemi.models.backbones.vision_transformer import VisionTransformer

TWO_D_FACTOR, VECTOR_FACTOR = 0.14, 0.2


def sequence(number: int, shape: tuple[int, ...]) -> Tensor:
    """r in [-1/2, 1/2) of tensor ``number``, float64."""
    k = np.arange(math.prod(shape), dtype=np.float64)
    r = np.modf(k * 0.6180339887498949 + number * 0.7548776662466927)[0] - 0.5
    return torch.from_numpy(r).reshape(shape)


def official_tensors(
    net: VisionTransformer, only: tuple[str, ...] | None = None
) -> dict[str, Tensor]:
    """A file's tensors: functions of the place of each name in the sorted list, and of its kind."""
    tensors = {}
    for number, (name, shape) in enumerate(sorted(net.official_tensors().items())):
        if only is not None and name not in only:
            continue
        r = sequence(number, shape)
        last, parent = name.rpartition(".")[2], name.rpartition(".")[0]
        if last == "gamma" or (last == "weight" and "norm" in parent):
            value = 1 + 0.4 * r
        elif "token" in name or name == "pos_embed":
            value = 2 * r
        elif last == "periods":
            value = rope_periods(net.embed_dims // net.size.num_heads)
        elif last == "bias_mask":
            value = torch.zeros(shape)
        else:
            value = (TWO_D_FACTOR if len(shape) >= 2 else VECTOR_FACTOR) * r
        tensors[name] = value.float()
    return tensors


def write_official(net: VisionTransformer, path: Path, **changes: Tensor | None) -> str:
    """Write a file; ``None`` leaves a tensor out."""
    tensors = {**official_tensors(net), **changes}
    torch.save({name: value for name, value in tensors.items() if value is not None}, path)
    return str(path)


def image(height: int, width: int) -> Tensor:
    """The normalised image of the known answers."""
    return (4 * sequence(0, (1, 3, height, width))).float()
