# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""ImageNet weights of the Wide ResNet-38 trunk, as the PyTorch ports name them.

A block is ``modM.blockB`` with ``bn1``, ``convs.conv1``, ``convs.bn2``, ... and ``proj_conv``; some
ports wrap a norm and its activation, which adds ``.0`` to the norm's name. The classifier and the
last norm are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from ..models.backbones import WiderResNet38
from .common import match, read_tensors, save, shapes_of

_BLOCK = re.compile(r"(mod\d)\.block(\d+)\.(?:convs\.)?(bn|conv)(\d)(?:\.0)?\.(\w+)")
_PROJECTION = re.compile(r"(mod\d)\.block(\d+)\.proj_conv\.(\w+)")


def rename(name: str) -> str | None:
    """The name in :class:`~mmsemi.models.backbones.WiderResNet38`, ``None`` for what it lacks."""
    if name == "mod1.conv1.weight":
        return "backbone.mod1.weight"
    found = _BLOCK.fullmatch(name)
    if found:
        module, block, kind, number, rest = found.groups()
        parts = "norms" if kind == "bn" else "convs"
        return f"backbone.{module}.{int(block) - 1}.{parts}.{int(number) - 1}.{rest}"
    found = _PROJECTION.fullmatch(name)
    if found:
        module, block, rest = found.groups()
        return f"backbone.{module}.{int(block) - 1}.projection.{rest}"
    return None


def convert(source: Path, out: Path) -> None:
    """Convert the trunk.

    Args:
        source: The published checkpoint.
        out: The plain checkpoint to write.

    Raises:
        CheckpointError: It is another net, or no readable checkpoint.
    """
    tensors = read_tensors(source)
    with torch.device("meta"):
        shapes = shapes_of(WiderResNet38(), "backbone.")
    result = match(source, tensors, rename, shapes)
    print(result.report())
    save(out, source, result.state_dict, {})
    print(f"wrote {out}, where configs/_base_/data/cityscapes_s4gan.py looks for it")
