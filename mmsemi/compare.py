# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The command line of ``tools/compare.py``: several configs, several seeds, one table.

Every run is a ``tools/train.py`` of its own. Runs that have ended are not repeated and broken-off
ones are resumed, so the tool can be stopped and started again. The value of a run is that of its
last validation, never the best one.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from .launch import UsageError, find_config, load_config
from .visualization.report import find_scalars, read_scalars


@dataclass
class Run:
    """One training: a config with a seed."""

    config: str
    seed: int
    work_dir: Path
    max_iters: int
    options: Sequence[str] = ()

    @property
    def command(self) -> list[str]:
        """The training as a command line; it continues where an earlier one broke off."""
        tool = Path(__file__).resolve().parents[1] / "tools" / "train.py"
        command = [sys.executable, str(tool), self.config, "--work-dir", str(self.work_dir)]
        if (self.work_dir / "last_checkpoint").is_file():
            command.append("--resume")
        return [*command, "--cfg-options", f"randomness.seed={self.seed}", *self.options]

    def value(self, metric: str) -> float | None:
        """The metric of the validation at the last iteration, or None before it."""
        path = find_scalars(self.work_dir)
        records = read_scalars(path) if path else []
        values = [r[metric] for r in records if metric in r and r.get("step") == self.max_iters]
        return values[-1] if values else None


def max_iters(config: Config) -> int:
    """Length of a training.

    Raises:
        UsageError: The config trains by epochs.
    """
    length = config.get("train_cfg", {}).get("max_iters")
    if length is None:
        raise UsageError(f"{config.filename} has no train_cfg.max_iters: only such runs compare")
    return int(length)


def train_all(runs: Sequence[Run], metric: str, jobs: int, threads: int) -> list[Run]:
    """Run what has not ended, at most ``jobs`` at a time; returns the runs that failed."""
    waiting = [run for run in runs if run.value(metric) is None]
    running: list[tuple[Run, subprocess.Popen, float]] = []
    failed = []
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.pop(0)
                run.work_dir.mkdir(parents=True, exist_ok=True)
                print(shlex.join(run.command), flush=True)
                with (run.work_dir / "train.log").open("a") as log:
                    process = subprocess.Popen(
                        run.command, stdout=log, stderr=subprocess.STDOUT, env=env
                    )
                running.append((run, process, time.perf_counter()))
            time.sleep(0.5)
            for item in list(running):
                run, process, start = item
                if process.poll() is None:
                    continue
                running.remove(item)
                value = run.value(metric)
                if process.returncode or value is None:
                    failed.append(run)
                    print(f"{run.work_dir} failed, see {run.work_dir / 'train.log'}", flush=True)
                else:
                    seconds = time.perf_counter() - start
                    print(f"{run.work_dir} {metric} {value:.2f} in {seconds:.0f} s", flush=True)
    finally:
        for _, process, _ in running:
            process.terminate()
    return failed


def format_table(runs: Sequence[Run], metric: str) -> str:
    """A Markdown table: a row a config, a column a seed, mean and deviation, gain over the first."""
    configs = list(dict.fromkeys(run.config for run in runs))
    seeds = list(dict.fromkeys(run.seed for run in runs))
    values = {(run.config, run.seed): run.value(metric) for run in runs}
    lines = [
        f"| {metric} | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | deviation | gain |",
        "|---|" + "---|" * (len(seeds) + 3),
    ]
    baseline = None
    for config in configs:
        row = [values[config, seed] for seed in seeds]
        cells = ["" if value is None else f"{value:.2f}" for value in row]
        known = [value for value in row if value is not None]
        mean = deviation = gain = ""
        if len(known) == len(row):
            average = statistics.fmean(known)
            baseline = average if config == configs[0] else baseline
            mean = f"{average:.2f}"
            deviation = f"{statistics.stdev(known):.2f}" if len(known) > 1 else ""
            if config != configs[0] and baseline is not None:
                gain = f"{average - baseline:+.2f}"
        lines.append(f"| {config} | {' | '.join(cells)} | {mean} | {deviation} | {gain} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``tools/compare.py``."""
    parser = argparse.ArgumentParser(
        description="Train several configs with several seeds and print one table, the gain being "
        "that over the first config. Ended runs are not repeated, broken-off ones are resumed.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("configs", nargs="+", help="the baseline first")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", default="work_dirs/compare", help="folder of all runs")
    parser.add_argument("--metric", default="mIoU")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each training")
    parser.add_argument("--report-only", action="store_true", help="only print the table")
    parser.add_argument("--cfg-options", nargs="+", default=[], help="for every training")
    args = parser.parse_args(arguments)
    try:
        runs = []
        for name in dict.fromkeys(args.configs):
            path = find_config(name)
            config = load_config(path)
            length = next(
                (int(o.split("=")[1]) for o in args.cfg_options if o.startswith("train_cfg.max_i")),
                None,
            ) or max_iters(config)
            folder = Path(args.out) / f"{Path(path).parent.name}_{Path(path).stem}"
            for seed in dict.fromkeys(args.seeds):
                work_dir = folder / f"seed{seed}"
                runs.append(Run(str(name), seed, work_dir, length, args.cfg_options))
    except UsageError as error:
        print(f"compare.py: error: {error}", file=sys.stderr)
        return 2
    failed = [] if args.report_only else train_all(runs, args.metric, args.jobs, args.threads)
    table = format_table(runs, args.metric)
    print(table)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(table + "\n")
    results = [
        dict(
            config=r.config, seed=r.seed, value=r.value(args.metric), command=shlex.join(r.command)
        )
        for r in runs
    ]
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    return 1 if failed else 0
