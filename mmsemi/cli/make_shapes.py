# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi make-shapes``: the built-in data set; training generates it by itself if it is missing."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from ..datasets.shapes import check_shapes, prepare_shapes
from ..datasets.shapes_generator import MARKER
from ..errors import DataError


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Generate the built-in data set "shapes" in VOC layout. Training does this by '
        "itself when the folder is missing.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", default="data/shapes", help="folder of the data set")
    parser.add_argument("--seed", type=int, default=0, help="seed of the data set")
    parser.add_argument("--num-train", type=int, default=256, help="number of training images")
    parser.add_argument("--num-val", type=int, default=100, help="number of validation images")
    parser.add_argument(
        "--overwrite", action="store_true", help='replace a "shapes" data set that is there already'
    )
    return parser.parse_args(arguments)


def remove_shapes(folder: Path) -> None:
    """Remove a data set, if the folder holds nothing but the generator's files.

    Raises:
        DataError: It holds something else.
    """
    ours = {"JPEGImages", "SegmentationClass", "ImageSets", MARKER}
    others = {path.name for path in folder.iterdir()} - ours if folder.is_dir() else {folder.name}
    if others:
        raise DataError(f'{folder} is not removed: {min(others)} is not of a "shapes" data set')
    shutil.rmtree(folder.resolve())


def main(arguments: Sequence[str] | None = None) -> None:
    """Generate or check the data set."""
    args = parse_args(arguments)
    out = Path(args.out)
    settings = {"seed": args.seed, "num_train": args.num_train, "num_val": args.num_val}
    if args.overwrite and out.exists():
        remove_shapes(out)
    started = time.perf_counter()
    if prepare_shapes(out, **settings):
        seconds = time.perf_counter() - started
        total = args.num_train + args.num_val
        print(f"{out}: wrote {total} images (seed {args.seed}) in {seconds:.1f} s")
    else:
        check_shapes(out, settings)
        print(f"{out}: complete already, nothing to do")
