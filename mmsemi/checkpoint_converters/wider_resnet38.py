# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""ImageNet weights of the Wide ResNet-38 trunk, as the PyTorch ports name them.

A block is ``modM.blockB`` with ``bn1``, ``convs.conv1``, ``convs.bn2``, ... and ``proj_conv``; some
ports wrap a norm and its activation, which adds ``.0`` to the norm's name. The classifier and the
last norm are left out.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

import torch

from ..models.backbones import WiderResNet38
from .common import make_parser, match, read_tensors, run, save, shapes_of

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


def convert(args: argparse.Namespace) -> None:
    """Convert the trunk."""
    tensors = read_tensors(args.source)
    with torch.device("meta"):
        shapes = shapes_of(WiderResNet38(), "backbone.")
    result = match(args.source, tensors, rename, shapes)
    print(result.report())
    save(args.out, args.source, result.state_dict, {})
    print(f"wrote {args.out}, where configs/_base_/data/cityscapes_s4gan.py looks for it")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``tools/checkpoint_converters/wider_resnet38.py``."""
    parser = make_parser("Convert ImageNet weights of Wide ResNet-38.")
    return run("wider_resnet38", convert, parser.parse_args(arguments))
