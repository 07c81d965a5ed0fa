#!/usr/bin/env python3
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Writes one network of a semi-supervised checkpoint as a plain mmseg config and checkpoint.

python tools/export_segmentor.py work_dirs/cps/shapes_1-8/iter_1200.pth exported [--net 0] [--onnx]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
if (CHECKOUT / "mmsemi" / "launch.py").is_file():
    sys.path.insert(
        0, str(CHECKOUT)
    )  # the checkout's tools run the checkout's code, installed or not


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="checkpoint of a training with mmsemi")
    parser.add_argument("out_dir", help="folder for config.py, weights.pth and net.onnx")
    parser.add_argument("--net", help="student, teacher, 0 or 1; default: predict_on of the config")
    parser.add_argument("--config", help="training config; default: the one in the checkpoint")
    parser.add_argument("--onnx", action="store_true", help="also write and check net.onnx")
    parser.add_argument(
        "--shape", nargs=2, type=int, metavar=("H", "W"), help="ONNX input; default: training crop"
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier export")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Export and say what was written; returns the exit code."""
    args = parse_args(argv)
    from mmsemi import launch
    from mmsemi.export import ONNX_FILE, export_segmentor

    try:
        config = launch.load_config(launch.find_config(args.config)) if args.config else None
        result = export_segmentor(
            args.checkpoint, args.out_dir, args.net, config, args.onnx, args.shape, args.force
        )
    except Exception as error:
        is_usage = isinstance(error, launch.UsageError)
        message = str(error) if is_usage else launch.find_deliberate_message(error)
        if message is None or launch.keep_traceback():
            raise
        print(f"export_segmentor.py: error: {message}", file=sys.stderr)
        return 2 if is_usage else 1
    print(f"network '{result.net}' of {args.checkpoint} (it has: {', '.join(result.names)})")
    if result.own_parts:
        needs = (
            f"imports {', '.join(result.imports)}, the network has {', '.join(result.own_parts)}"
        )
    else:
        needs = "stock parts only, loads without mmsemi"
    print(f"{result.config}: {needs}")
    print(f"{result.weights}: weights and classes, nothing else")
    if result.onnx:
        print(f"{Path(args.out_dir) / ONNX_FILE}: {result.onnx}")
    for note in result.notes:
        print(f"note: {note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
