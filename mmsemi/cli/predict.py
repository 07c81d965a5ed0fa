# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi predict CHECKPOINT INPUT... OUT``: masks, overlays and confidences of images.

Started again, it does what is left. Exit code 1: some images have no result; they are named at the end, and the
others have theirs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mmengine.logging import MMLogger

from ..prediction import load
from ..prediction.folder import PredictionFolder
from ..prediction.inputs import find_inputs
from ..prediction.pictures import KINDS
from ..prediction.predictor import MAX_PIXELS


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Predict images with the network of a checkpoint. Results have the names of the images, "
        "below the same folders. A call that was killed goes on when it is started again."
    )
    parser.add_argument("checkpoint", help="of a training with mmsemi, or of mmsemi export")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="input",
        help="image, folder (with the folders in it), or text file with a path a line",
    )
    parser.add_argument("out", help=f"folder for {', '.join(f'{kind}/' for kind in KINDS)}")
    parser.add_argument(
        "--write",
        nargs="+",
        choices=KINDS,
        default=["masks", "overlays"],
        help="masks: PNG of class numbers; colors: of their colours; overlays: the colours over the image, "
        "without the background; confidence: 16-bit PNG (masks overlays)",
    )
    parser.add_argument("--net", help="student, teacher, 0, 1, ensemble; default: predict_on")
    parser.add_argument(
        "--config",
        help="training config, a Python file that may import modules of your own; default: the one in "
        "the checkpoint, which is data and imports nothing",
    )
    parser.add_argument("--batch-size", type=int, default=4, help="images of a forward (4)")
    parser.add_argument("--workers", type=int, default=2, help="processes that read images (2)")
    parser.add_argument("--device", help="default: the GPU, or the CPU without one")
    parser.add_argument("--tile", type=int, help="side of a tile of a large image (1024)")
    parser.add_argument(
        "--max-pixels", type=int, help=f"an image of more is cut into tiles ({MAX_PIXELS})"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``mmsemi predict``."""
    args = parse_args(arguments)
    MMLogger.get_current_instance().setLevel("WARNING")  # what networks say when they are built
    base, inputs = find_inputs(args.inputs, args.out)
    predictor = load(args.checkpoint, args.config, args.net, args.device)
    predictor.set_tiles(args.tile, args.max_pixels)
    folder = PredictionFolder(
        predictor, inputs, base, args.out, args.write, args.batch_size, args.workers
    )
    nets = " and ".join(f"'{name}'" for name in predictor.origin["networks"])
    done = len(inputs) - len(folder.todo)
    print(
        f"network {nets}, {len(inputs)} images" + (f", {done} are done" if done else ""), flush=True
    )
    failures = folder.run()
    print(f"{args.out}: {', '.join(folder.kinds)} of {len(inputs) - len(failures)} images")
    if failures:
        print(f"{len(failures)} of {len(inputs)} images have no result:", file=sys.stderr)
        for failure in failures:
            print(f"  {failure.reason}", file=sys.stderr)
    return 1 if failures else 0
