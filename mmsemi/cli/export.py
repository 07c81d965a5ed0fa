# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi export``: one network of a semi-supervised checkpoint as a plain mmseg model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import MMLogger

from ..errors import ConfigError
from ..export import ONNX_FILE, OPENVINO_FILE, REQUIREMENTS_FILE, export_segmentor
from ..utils.config_files import read_config


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Write one network of a semi-supervised checkpoint as a plain mmseg config and "
        "checkpoint."
    )
    parser.add_argument("checkpoint", help="checkpoint of a training with mmsemi")
    parser.add_argument(
        "out_dir",
        help="folder for config.py, weights.pth, requirements.txt, net.onnx, net.xml and net.bin",
    )
    parser.add_argument("--net", help="student, teacher, 0 or 1; default: predict_on of the config")
    parser.add_argument(
        "--config",
        help="training config, a Python file that may import modules of your own; default: the one in "
        "the checkpoint, which is data and imports nothing",
    )
    parser.add_argument("--onnx", action="store_true", help="also write and check net.onnx")
    parser.add_argument(
        "--openvino",
        action="store_true",
        help="also write and check net.xml and net.bin, a model of OpenVINO",
    )
    parser.add_argument(
        "--shape",
        nargs=2,
        type=int,
        metavar=("H", "W"),
        help="input that --onnx and --openvino trace; default: the sliding window or the training crop, and "
        "512 512 if the config has neither",
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier export")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Export and say what was written."""
    args = parse_args(arguments)
    if args.shape and not (args.onnx or args.openvino):
        raise ConfigError(
            f"--shape {' '.join(map(str, args.shape))} is of the ONNX or OpenVINO input: add --onnx or "
            "--openvino"
        )
    MMLogger.get_current_instance().setLevel("WARNING")  # what networks say when they are built
    config = read_config(args.config) if args.config else None
    result = export_segmentor(
        args.checkpoint,
        args.out_dir,
        args.net,
        config,
        args.onnx,
        args.shape,
        args.force,
        args.openvino,
    )
    print(f"network '{result.net}' of {args.checkpoint} (it has: {', '.join(result.names)})")
    needs = "stock parts only, loads without mmsemi"
    if result.own_parts:
        imports, parts = ", ".join(result.imports), ", ".join(result.own_parts)
        needs = f"imports {imports}, the network has {parts}"
    print(f"{result.config}: {needs}")
    print(f"{result.weights}: weights and classes, nothing else")
    needed = ", ".join(line.partition("  #")[0] for line in result.needs)
    print(f"{Path(args.out_dir) / REQUIREMENTS_FILE}: where it is loaded it needs {needed}")
    if result.onnx:
        print(f"{Path(args.out_dir) / ONNX_FILE}: {result.onnx}")
    if result.openvino:
        print(f"{Path(args.out_dir) / OPENVINO_FILE} and its weights: {result.openvino}")
    for note in result.notes:
        print(f"note: {note}")
