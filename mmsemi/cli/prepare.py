# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi prepare NAME``: public data sets in the layouts that the configs read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from ..errors import ConfigError


def add_ade20k(parser: argparse.ArgumentParser) -> None:
    """Check ADE20K (ADEChallengeData2016); write training.txt, validation.txt."""
    parser.add_argument("ade", type=Path, help="ADEChallengeData2016, or the folder that holds it")


def add_camvid(parser: argparse.ArgumentParser) -> None:
    """Bring CamVid (SegNet's or the original layout) into plain folders."""
    parser.add_argument("camvid", type=Path, help="folder or zip file of the download")
    parser.add_argument("--out", type=Path, default=Path("data/camvid"), help="%(default)s")
    parser.add_argument(
        "--image-format",
        choices=["jpg", "png"],
        default="jpg",
        help="jpg (quality 95) is what the configs read; png is lossless (default: %(default)s)",
    )
    parser.add_argument(
        "--full-size", action="store_true", help="keep the 960x720 pixels of the original"
    )


def add_cityscapes(parser: argparse.ArgumentParser) -> None:
    """Write *_gtFine_labelTrainIds.png beside the official annotations, and the lists train.txt,
    val.txt and train_extra.txt."""
    parser.add_argument("cityscapes", type=Path, help="folder with leftImg8bit and gtFine")
    parser.add_argument(
        "--source",
        choices=["auto", "ids", "polygons"],
        default="auto",
        help="what to make the masks from (default: labelIds, else polygons)",
    )


def add_coco(parser: argparse.ArgumentParser) -> None:
    """Draw COCO's 80 object classes as masks (0 = background)."""
    parts = ["train2017", "val2017"]
    parser.add_argument("coco", type=Path, help="folder with train2017, val2017, annotations")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--out", type=Path, help="default: COCO/masks, one folder for all parts")
    parser.add_argument(
        "--crowd",
        choices=["ignore", "class"],
        default="ignore",
        help="crowd regions become 255 or their class (default: %(default)s)",
    )
    parser.add_argument(
        "--check", action="store_true", help="only check masks that are there, such as UniMatch's"
    )


def add_nuclei(parser: argparse.ArgumentParser) -> None:
    """Bring the nuclei of the Data Science Bowl 2018 into plain folders, in parts of ours."""
    parser.add_argument(
        "nuclei", type=Path, help="folder or zip file with stage1_train/<id>/{images,masks}/*.png"
    )
    parser.add_argument("--out", type=Path, default=Path("data/nuclei"), help="%(default)s")


def add_pascal_context(parser: argparse.ArgumentParser) -> None:
    """Make PASCAL-Context masks of 60 classes from the released .mat files."""
    parser.add_argument("voc", type=Path, help="VOCdevkit/VOC2010")
    parser.add_argument("context", type=Path, help="folder with the .mat files (trainval)")
    parser.add_argument(
        "--labels", type=Path, help="the release's labels.txt or 59_labels.txt, to check the names"
    )


def add_voc_aug(parser: argparse.ArgumentParser) -> None:
    """Merge the masks of PASCAL VOC 2012 and SBD; write trainaug.txt."""
    parser.add_argument("voc", type=Path, help="VOCdevkit/VOC2012")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--sbd", type=Path, help="SBD: benchmark_RELEASE, or its dataset folder")
    source.add_argument(
        "--masks",
        type=Path,
        help="a folder of converted masks: DeepLab's SegmentationClassAug, UniMatch's "
        "SegmentationClass, or what mmseg's converter wrote",
    )
    parser.add_argument("--out", type=Path, help="default: VOC2012/SegmentationClassAug")


#: Module of ``mmsemi.datasets.converters`` -> what its function ``convert`` is told.
CONVERTERS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "ade20k": add_ade20k,
    "camvid": add_camvid,
    "cityscapes": add_cityscapes,
    "coco": add_coco,
    "nuclei": add_nuclei,
    "pascal_context": add_pascal_context,
    "voc_aug": add_voc_aug,
}


def build_parser() -> argparse.ArgumentParser:
    """One sub-command a data set."""
    parser = argparse.ArgumentParser(
        description="Bring a public data set into the layout that the configs read, and check it."
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="DATASET")
    for name, add_arguments in CONVERTERS.items():
        text = " ".join(add_arguments.__doc__.split())
        command = commands.add_parser(
            name, help=text, description=text, epilog="docs/datasets.md shows every layout."
        )
        add_arguments(command)
        command.add_argument(
            "--nproc",
            type=int,
            default=min(8, os.cpu_count() or 1),
            help="worker processes (default: %(default)s)",
        )
        command.add_argument(
            "--subset",
            action="store_true",
            help="the input is a part of the data set: report counts and hashes, do not require them",
        )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    settings = vars(build_parser().parse_args(arguments))
    if settings["nproc"] < 1:
        raise ConfigError(f"--nproc {settings['nproc']} must be at least 1")
    import_module(f"mmsemi.datasets.converters.{settings.pop('name')}").convert(**settings)
