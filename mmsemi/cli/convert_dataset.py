# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi convert-dataset NAME``: public data sets in the layouts that the configs read."""

from __future__ import annotations

from collections.abc import Sequence

from .subcommands import run_subcommand

CONVERTERS = {
    "ade20k": "ADE20K (SceneParse150): checks layout, pairs and values",
    "camvid": "CamVid, SegNet's or the original layout, into plain folders",
    "cityscapes": "masks of the 19 training classes, lists of train, val and train_extra",
    "coco": "COCO 2017: masks of the 80 object classes and background",
    "pascal_context": "masks of 60 classes from the released .mat files",
    "voc_aug": "PASCAL VOC 2012 + SBD: one folder of merged masks, and trainaug.txt",
}


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    return run_subcommand("mmsemi.dataset_converters", CONVERTERS, arguments)
