# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The command line of ``tools/benchmark.py``, and its table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import DictAction
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from ..launch import (
    UsageError,
    check_option,
    find_config,
    find_deliberate_message,
    keep_traceback,
    load_config,
)
from .batches import set_crop
from .measure import run_benchmark


def format_table(name: str, results: dict[str, Any]) -> str:
    """The results as lines of text."""

    def line(key: str, text: str) -> str:
        return f"{key:<13}{text}"

    def spread(values: dict[str, float], scale: float, digits: int) -> str:
        q1, median, q3 = (f"{values[k] * scale:.{digits}f}" for k in ("q1", "median", "q3"))
        return f"{median}  (quartiles {q1} .. {q3})"

    r = results
    counts = ", ".join(f"{count} {source}" for source, count in r["counts"].items())
    height, width = r["crop_hw"]
    where = r["device"] if r["device"] != "cpu" else f"cpu, {r['threads']} thread(s)"
    lines = [
        line("config", f"{name} ({r['method']}{', mixed' if r['mix'] else ''})"),
        line("batch", f"{counts}, crop {height}x{width}, {r['data']} data"),
        line("machine", f"{where}, torch {r['torch']}"),
        line("step ms", spread(r["step"], 1e3, 2) + f", {r['images_per_second']:.1f} images/s"),
    ]
    if r["floor"]:
        lines.append(line("floor ms", spread(r["floor"], 1e3, 2)))
    if r["ratio"]:
        lines.append(line("ratio", spread(r["ratio"], 1, 4) + f", {r['pairs']} pairs"))
    if r["cpu_ratio"]:
        lines.append(line("ratio of CPU", spread(r["cpu_ratio"], 1, 4)))
    if r["loss_difference"] is not None:
        lines.append(
            line("loss", f"floor and step differ by {r['loss_difference']:.1e} (relative)")
        )
    if r["floor_note"]:
        lines.append(line("floor", r["floor_note"]))
    share = r["preprocessor"] / r["step"]["median"]
    lines.append(line("preprocessor", f"{r['preprocessor'] * 1e3:.2f} ms, {share:.1%} of the step"))
    if r["ema"] is not None:
        lines.append(line("teacher EMA", f"{r['ema'] * 1e3:.2f} ms a step, beside the step"))
    memory = ", ".join(f"{key} {value:.0f}" for key, value in r["memory_mib"].items())
    lines.append(line("peak MiB", f"{memory}{' (process)' if r['device'] == 'cpu' else ''}"))
    if r.get("loader"):
        speeds = ", ".join(f"{s} {speed:.1f}" for s, speed in r["loader"].items())
        batch = sum(r["counts"][source] / speed for source, speed in r["loader"].items())
        files = f" (JPEG {r['image_hw'][1]}x{r['image_hw'][0]})" if r["image_hw"] else ""
        lines.append(line("loader", f"{speeds} images/s per worker{files}"))
        lines.append(line("", f"{batch / r['step']['median']:.2f} workers keep up with the step"))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``tools/benchmark.py``."""
    parser = argparse.ArgumentParser(
        description="Time a training step against a plain torch loop of the same mathematics."
    )
    parser.add_argument("config")
    parser.add_argument("--pairs", type=int, default=30, help="measured pairs of floor and step")
    parser.add_argument("--warmup", type=int, default=5, help="pairs before them")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--crop", type=int, help="train on square crops of this size instead")
    parser.add_argument("--data", choices=["synthetic", "config"], default="synthetic")
    parser.add_argument("--image-size", type=int, nargs=2, default=(375, 500), metavar=("H", "W"))
    parser.add_argument("--out", help="also write the results into this JSON file")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={})
    args = parser.parse_args(arguments)
    try:
        path = find_config(args.config)
        config = load_config(path)
        for key in args.cfg_options:
            check_option(key, config, path)
        config.merge_from_dict(args.cfg_options)
        if args.pairs < 1:
            raise UsageError(f"--pairs {args.pairs} must be at least 1")
        if torch.device(args.device).type == "cuda" and not torch.cuda.is_available():
            raise UsageError(f"--device {args.device}: torch finds no CUDA device")
        if args.crop:
            set_crop(config, args.crop)
        torch.set_num_threads(args.threads)
        init_default_scope(config.get("default_scope", "mmseg"))
        MMLogger.get_current_instance().setLevel("WARNING")  # a line for every parameter
        results = run_benchmark(
            config,
            pairs=args.pairs,
            warmup=args.warmup,
            device=args.device,
            data=args.data,
            image_hw=args.image_size,
        )
    except UsageError as error:
        print(f"benchmark.py: error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        message = None if keep_traceback() else find_deliberate_message(error)
        if message is None:
            raise
        print(f"benchmark.py: error: {message}", file=sys.stderr)
        return 1
    print(format_table(args.config, results))
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(dict(config=args.config, **results), indent=2) + "\n")
    return 0
