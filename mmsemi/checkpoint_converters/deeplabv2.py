# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Names of the DeepLabv2 ResNet-101 in the code that AdvSemiSeg, s4GAN and others share.

The backbone has the names of torchvision and mmseg. The head is the list ``layer5.conv2d_list``, here
:class:`~mmsemi.models.heads.DeepLabV2Head`'s ``branches``. A file has 528 tensors: 104 convolutions
and their norms (520) and the head's four weights and biases.
"""

from __future__ import annotations

from pathlib import Path

import torch
from mmseg.models.backbones import ResNet
from torch import Tensor

from ..errors import CheckpointError
from ..models.heads import DeepLabV2Head
from .common import Shape, shapes_of

_HEAD = "layer5.conv2d_list."
# Files of the multi-scale port of DeepLab keep the net under 'Scale', files of nn.DataParallel under
# 'module'.
PREFIXES = ("module.", "Scale.")
# 0-255 minus the mean, not divided; in the order of the channels that the net gets.
MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)
STD = (1.0, 1.0, 1.0)


def rename(name: str) -> str:
    """The mmseg name for a name of the shared code."""
    if name.startswith(_HEAD):
        return f"decode_head.branches.{name.removeprefix(_HEAD)}"
    return f"backbone.{name}"


def network_shapes(num_classes: int | None) -> dict[str, Shape]:
    """Names and shapes of the network; without the head for ``None`` classes."""
    with torch.device("meta"):
        shapes = shapes_of(ResNet(depth=101), "backbone.")
        if num_classes:
            head = DeepLabV2Head(num_classes=num_classes, out_channels=num_classes)
            shapes.update(shapes_of(head, "decode_head."))
    return shapes


def count_classes(path: Path, tensors: dict[str, Tensor]) -> int | None:
    """Classes of the head in a file, ``None`` without a head.

    Raises:
        CheckpointError: The head's weight is no convolution.
    """
    weight = tensors.get(f"{_HEAD}0.weight")
    if weight is None:
        return None
    if weight.ndim != 4:
        raise CheckpointError(f"'{path}': {_HEAD}0.weight has shape {tuple(weight.shape)}")
    return weight.shape[0]


def preprocessor(is_rgb: bool) -> dict:
    """The input that the weights expect, as settings of the data preprocessor."""
    mean = MEAN_BGR[::-1] if is_rgb else MEAN_BGR
    return dict(mean=list(mean), std=list(STD), bgr_to_rgb=is_rgb)
