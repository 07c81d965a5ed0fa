# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Generate the built-in data set "shapes" in VOC layout.

Training does this by itself when the folder is missing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", default="data/shapes", help="folder of the data set")
    parser.add_argument("--seed", type=int, default=0, help="seed of the data set")
    parser.add_argument("--num-train", type=int, default=256, help="number of training images")
    parser.add_argument("--num-val", type=int, default=100, help="number of validation images")
    parser.add_argument(
        "--overwrite", action="store_true", help='replace a "shapes" data set that is there already'
    )
    return parser.parse_args(argv)


def looks_like_shapes(folder: Path) -> bool:
    """Whether ``--overwrite`` may remove ``folder``: it holds nothing but the generator's files."""
    from mmsemi.datasets.shapes_generator import MARKER

    ours = {"JPEGImages", "SegmentationClass", "ImageSets", MARKER}
    return folder.is_dir() and {path.name for path in folder.iterdir()} <= ours


def main(argv: list[str] | None = None) -> int:
    """Generate or check the data set; returns the exit code."""
    args = parse_args(argv)
    from mmsemi.datasets.shapes import check_shapes, prepare_shapes

    out = Path(args.out)
    settings = {"seed": args.seed, "num_train": args.num_train, "num_val": args.num_val}
    try:
        if args.overwrite and out.exists():
            if not looks_like_shapes(out):
                raise RuntimeError(f'{out} holds other files than a "shapes" data set: not removed')
            shutil.rmtree(out.resolve())
        started = time.perf_counter()
        if prepare_shapes(out, **settings):
            seconds = time.perf_counter() - started
            total = args.num_train + args.num_val
            print(f"{out}: wrote {total} images (seed {args.seed}) in {seconds:.1f} s")
        else:
            check_shapes(out, settings)
            print(f"{out}: complete already, nothing to do")
    except (OSError, RuntimeError, ValueError) as error:
        print(f"make_shapes: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
