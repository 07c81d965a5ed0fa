# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Timing of runs that are compared: they alternate, and ratios are taken within each round.

Other load on the machine then hits all of them; the CPU time of the process feels it less than the
clock does.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

Run = Callable[[], Any]
Quartiles = dict[str, float]


class Timing(NamedTuple):
    """Seconds on the clock, and seconds of this process's CPU time."""

    seconds: float
    cpu_seconds: float


def timed(run: Run, device: torch.device) -> Timing:
    """Run once; the device's work is included in the time on the clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start, cpu_start = time.perf_counter(), time.process_time()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return Timing(time.perf_counter() - start, time.process_time() - cpu_start)


def alternate(
    runs: dict[str, Run],
    device: torch.device,
    pairs: int,
    warmup: int,
    prepare: Run = lambda: None,
) -> dict[str, list[Timing]]:
    """Time runs in turn; the order within a round alternates, too.

    Args:
        runs: By name.
        device: Where they work.
        pairs: Rounds that count.
        warmup: Rounds before them.
        prepare: Called before every run, outside of its time.
    """
    timings: dict[str, list[Timing]] = {name: [] for name in runs}
    for number in range(warmup + pairs):
        for name in list(runs) if number % 2 else reversed(runs):
            prepare()
            timings[name].append(timed(runs[name], device))
    return {name: rounds[warmup:] for name, rounds in timings.items()}


def quartiles(values: Sequence[float]) -> Quartiles:
    """First quartile, median and third quartile."""
    if len(values) == 1:
        return dict(q1=values[0], median=values[0], q3=values[0])
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return dict(q1=q1, median=median, q3=q3)


def ratios(
    ours: Sequence[Timing], others: Sequence[Timing], device: torch.device
) -> dict[str, Quartiles | None]:
    """Quartiles of ours / others within the rounds: ``ratio``, of seconds, and ``cpu_ratio``.

    The latter is None where a device does the work.
    """
    rounds = list(zip(ours, others))
    cpu = None
    if device.type == "cpu":
        cpu = quartiles([a.cpu_seconds / b.cpu_seconds for a, b in rounds])
    return dict(ratio=quartiles([a.seconds / b.seconds for a, b in rounds]), cpu_ratio=cpu)


def peak_memory_mib(run: Run, device: torch.device) -> float:
    """Peak memory in MiB: of the device during ``run``, or of this process so far on the CPU."""
    if device.type != "cuda":
        scale = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    torch.cuda.reset_peak_memory_stats(device)
    run()
    return torch.cuda.max_memory_allocated(device) / 2**20


def whole_number(low: int) -> Callable[[str], int]:
    """Reads an argument of the command line that is at least ``low``."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(f"{text} is no whole number of at least {low}")
        return int(text)

    return read


def device(text: str) -> torch.device:
    """Reads the device to measure on."""
    if text.split(":")[0] not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"{text} is neither cpu nor cuda")
    if text.startswith("cuda") and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError(f"{text}: torch finds no CUDA device")
    return torch.device(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that all measurements have."""
    parser.add_argument("--pairs", type=whole_number(1), default=30, help="measured rounds")
    parser.add_argument("--warmup", type=whole_number(0), default=5, help="rounds before them")
    parser.add_argument("--threads", type=whole_number(1), default=1, help="torch threads")
    parser.add_argument("--device", type=device, default="cpu")
    parser.add_argument("--out", help="also write the results into this JSON file")


def device_name(device: torch.device) -> str:
    """The name of a GPU, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def write_results(path: str | None, results: dict[str, Any]) -> None:
    """Write results as JSON, if there is a path."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(results, indent=2) + "\n")
