# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi convert-checkpoint NAME``: published weights as plain mmseg checkpoints."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from ..checkpoint_converters.published import PUBLISHED, find_source
from ..errors import ConfigError


def add_advsemiseg(parser: argparse.ArgumentParser) -> None:
    """Convert a segmentation net of AdvSemiSeg's or s4GAN's released code."""
    parser.add_argument(
        "--branches",
        type=int,
        choices=[2, 4],
        default=2,
        help="branches that were summed in training: 2 in the released code (default), 4 where "
        "its head was corrected",
    )


def add_cac(parser: argparse.ArgumentParser) -> None:
    """Convert a DeepLabv3+ of CAC's released code."""


def add_deeplabv2_coco(parser: argparse.ArgumentParser) -> None:
    """Convert the MS-COCO DeepLabv2 ResNet-101 that AdvSemiSeg starts from."""
    parser.add_argument(
        "--num-classes",
        type=int,
        default=21,
        help="classes of your data set; with another number than the file's the head is left out "
        "(default: %(default)s)",
    )


def add_wider_resnet38(parser: argparse.ArgumentParser) -> None:
    """Convert ImageNet weights of Wide ResNet-38."""


#: Module of ``mmsemi.checkpoint_converters`` -> what its function ``convert`` is told beside files.
CONVERTERS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "advsemiseg": add_advsemiseg,
    "cac": add_cac,
    "deeplabv2_coco": add_deeplabv2_coco,
    "wider_resnet38": add_wider_resnet38,
}


def build_parser() -> argparse.ArgumentParser:
    """One sub-command a source."""
    parser = argparse.ArgumentParser(
        description="Bring published weights into a plain mmseg checkpoint."
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, add_arguments in CONVERTERS.items():
        text = add_arguments.__doc__
        command = commands.add_parser(name, help=text, description=text)
        names = [key for key, entry in PUBLISHED.items() if entry.converter == name]
        command.add_argument(
            "source",
            type=Path,
            help="the published checkpoint, as downloaded"
            + (f", or the name of one that is looked up: {', '.join(names)}" if names else ""),
        )
        command.add_argument("out", type=Path, help="the plain mmseg checkpoint to write")
        command.add_argument("--force", action="store_true", help="replace the file if it exists")
        add_arguments(command)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    settings = vars(build_parser().parse_args(arguments))
    name, is_forced = settings.pop("name"), settings.pop("force")
    if settings["out"].exists() and not is_forced:
        raise ConfigError(f"'{settings['out']}' exists; add --force to replace it")
    settings["source"] = find_source(settings["source"], name)
    import_module(f"mmsemi.checkpoint_converters.{name}").convert(**settings)
