# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi convert-checkpoint NAME``: published weights as plain mmseg checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from .subcommands import run_subcommand

CONVERTERS = {
    "advsemiseg": "a segmentation net of AdvSemiSeg's or s4GAN's released code",
    "deeplabv2_coco": "the MS-COCO DeepLabv2 ResNet-101 that AdvSemiSeg starts from",
    "wider_resnet38": "ImageNet weights of Wide ResNet-38",
}


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    return run_subcommand("mmsemi.checkpoint_converters", CONVERTERS, arguments)
