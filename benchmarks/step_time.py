# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A config's training step against the reference step of its method: see README.md.

python -m benchmarks.step_time configs/cps/camvid_1-8.py --crop 128 [--device cuda] [--out r.json]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mmsemi.cli import run
from mmsemi.utils.config_files import CfgOptions, read_config

from .batches import set_crop
from .measure import run_benchmark
from .timing import add_arguments, whole_number, write_results


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
    if r["reference"]:
        lines.append(line("reference ms", spread(r["reference"], 1e3, 2)))
    if r["ratio"]:
        lines.append(line("ratio", spread(r["ratio"], 1, 4) + f", {r['pairs']} pairs"))
    if r["cpu_ratio"]:
        lines.append(line("ratio of CPU", spread(r["cpu_ratio"], 1, 4)))
    if r["loss_difference"] is not None:
        lines.append(
            line("loss", f"step and reference differ by {r['loss_difference']:.1e} (relative)")
        )
    if r["note"]:
        lines.append(line("reference", r["note"]))
    share = r["preprocessor"] / r["step"]["median"]
    lines.append(line("preprocessor", f"{r['preprocessor'] * 1e3:.2f} ms, {share:.1%} of the step"))
    lines.append(line("views, masks", f"{r['draws'] * 1e3:.2f} ms to draw, beside the step"))
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
    """The command line.

    Raises:
        ConfigError: The config or an option is wrong.
    """
    parser = argparse.ArgumentParser(
        description="Time a training step against the reference step of its method."
    )
    parser.add_argument("config")
    add_arguments(parser)
    parser.add_argument(
        "--crop", type=whole_number(1), help="train on square crops of this size instead"
    )
    parser.add_argument("--data", choices=["synthetic", "config"], default="synthetic")
    parser.add_argument(
        "--image-size", type=whole_number(1), nargs=2, default=(375, 500), metavar=("H", "W")
    )
    parser.add_argument(
        "--loader-seconds",
        type=float,
        default=4.0,
        help="time to measure the loader; 0: not at all",
    )
    parser.add_argument("--cfg-options", nargs="+", action=CfgOptions, default={})
    args = parser.parse_args(arguments)
    config = read_config(args.config, args.cfg_options)
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
        loader_seconds=args.loader_seconds,
    )
    print(format_table(args.config, results))
    write_results(args.out, dict(config=args.config, **results))
    return 0


if __name__ == "__main__":
    sys.exit(run("benchmarks.step_time", sys.argv[1:], "step_time"))
