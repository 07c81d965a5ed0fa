# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The DeepLabv2 ResNet-101 trained on MS-COCO that AdvSemiSeg starts from.

Its weights come from Caffe: images are BGR, 0-255, minus the mean, not divided.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .common import make_parser, match, read_tensors, run, save
from .deeplabv2 import PREFIXES, count_classes, network_shapes, preprocessor, rename


def convert(args: argparse.Namespace) -> None:
    """Convert; the head is kept if it has the wanted number of classes."""
    tensors = read_tensors(args.source, PREFIXES)
    in_file = count_classes(args.source, tensors)
    keeps_head = in_file == args.num_classes
    result = match(
        args.source, tensors, rename, network_shapes(args.num_classes if keeps_head else None)
    )
    print(result.report())
    if in_file is None:
        print("the file has no head")
    elif not keeps_head:
        print(f"the head is left out: the file has {in_file} classes, you want {args.num_classes}")
    settings = preprocessor(is_rgb=False)
    save(args.out, args.source, result.state_dict, dict(data_preprocessor=settings))
    mean = ", ".join(map(str, settings["mean"]))
    print(f"wrote {args.out}\nthe weights expect BGR images, 0-255, minus ({mean}), not divided:")
    print("the configs of configs/advsemiseg are set so")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``tools/checkpoint_converters/deeplabv2_coco.py``."""
    parser = make_parser("Convert the MS-COCO DeepLabv2 ResNet-101 that AdvSemiSeg starts from.")
    parser.add_argument(
        "--num-classes",
        type=int,
        default=21,
        help="classes of your data set; with another number than the file's the head is left out "
        "(default: %(default)s)",
    )
    return run("deeplabv2_coco", convert, parser.parse_args(arguments))
