# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The command line of ``tools/compare.py``: several configs, several seeds, one table.

Every run is a ``tools/train.py`` of its own. Runs that have ended are not repeated and broken-off
ones are resumed, so the tool can be stopped and started again; a folder whose run had other settings
is refused. The value of a run is that of its last validation, never the best one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config, DictAction

from .launch import PACKAGE, UsageError, check_option, find_config, load_config
from .visualization.report import find_scalars, read_scalars


@dataclass
class Run:
    """One training: a config with a seed.

    Attributes:
        config: As the user named it.
        seed: Of the run.
        work_dir: Its folder.
        max_iters: Its length.
        options: ``--cfg-options`` of all runs.
        settings: Hash of the config with these options.
    """

    config: str
    seed: int
    work_dir: Path
    max_iters: int
    options: Sequence[str] = ()
    settings: str = ""

    @property
    def command(self) -> list[str]:
        """The training as a command line; it continues where an earlier one broke off."""
        # In a checkout the tools lie beside the package, in a wheel inside.
        roots = (PACKAGE.parent, PACKAGE / ".mim")
        tool = next(p for root in roots if (p := root / "tools" / "train.py").is_file())
        command = [sys.executable, str(tool), self.config, "--work-dir", str(self.work_dir)]
        if (self.work_dir / "last_checkpoint").is_file():
            command.append("--resume")
        return [*command, "--cfg-options", f"randomness.seed={self.seed}", *self.options]

    @property
    def has_other_settings(self) -> bool:
        """Whether the folder holds a run that was started with another config or other options."""
        record = self.work_dir / "settings.sha256"
        return record.is_file() and record.read_text().strip() != self.settings

    def records(self) -> list[dict]:
        """What the newest training of the folder has logged."""
        path = find_scalars(self.work_dir)
        return read_scalars(path) if path else []

    def value(self, metric: str) -> float | None:
        """The metric of the validation at the last iteration, or None before it."""
        records = self.records()
        values = [r[metric] for r in records if metric in r and r.get("step") == self.max_iters]
        return values[-1] if values else None


def max_iters(config: Config) -> int:
    """Length of a training.

    Raises:
        UsageError: The config trains by epochs.
    """
    length = (config.get("train_cfg") or {}).get("max_iters")
    if not isinstance(length, (int, float)) or length != int(length):
        raise UsageError(
            f"{config.filename} has train_cfg.max_iters={length}: only trainings by iterations compare"
        )
    return int(length)


def plan_runs(args: argparse.Namespace) -> list[Run]:
    """All runs of a command line.

    Raises:
        UsageError: A config or option is wrong, or two configs would share a folder.
    """
    for option in args.cfg_options:
        if "=" not in option:
            raise UsageError(f"--cfg-options {option}: expected KEY=VALUE")
    parser = argparse.ArgumentParser()
    parser.add_argument("--options", nargs="*", action=DictAction)
    options = parser.parse_args(["--options", *args.cfg_options]).options
    runs, names = [], {}
    for name in dict.fromkeys(args.configs):
        path = find_config(name)
        config = load_config(path)
        for key in options:
            check_option(key, config, path)
        config.merge_from_dict(options)
        text = json.dumps(config.to_dict(), sort_keys=True, default=str)
        settings = hashlib.sha256(text.encode()).hexdigest()
        folder = Path(args.out) / f"{Path(path).parent.name}_{Path(path).stem}"
        if folder in names:
            raise UsageError(f"{names[folder]} and {name} would both be written to {folder}")
        names[folder] = name
        for seed in dict.fromkeys(args.seeds):
            work_dir = folder / f"seed{seed}"
            runs.append(
                Run(str(name), seed, work_dir, max_iters(config), args.cfg_options, settings)
            )
    return runs


def explain_failure(run: Run, metric: str, code: int) -> str:
    """Why an ended training has no value."""
    log = run.work_dir / "train.log"
    records = run.records()
    if code or not any(record.get("step") == run.max_iters for record in records):
        return f"{run.work_dir} failed, see {log}"
    known = sorted(
        {k for r in records if r.get("step") == run.max_iters and "iter" not in r for k in r}
    )
    if not known:
        return f"{run.work_dir} ended without a validation at iteration {run.max_iters}: see val_interval"
    return f"{run.work_dir} has no metric {metric} (known: {', '.join(known)}): give --metric"


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
                (run.work_dir / "settings.sha256").write_text(run.settings + "\n")
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
                    print(explain_failure(run, metric, process.returncode), flush=True)
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
        if args.jobs < 1 or args.threads < 1:
            raise UsageError("--jobs and --threads must be at least 1")
        runs = plan_runs(args)
        other = next((run.work_dir for run in runs if run.has_other_settings), None)
        if other is not None and not args.report_only:
            raise UsageError(
                f"{other} holds a run with another config or other --cfg-options: give another "
                "--out, or remove it"
            )
    except UsageError as error:
        print(f"compare.py: error: {error}", file=sys.stderr)
        return 2
    if other is not None:
        print(f"note: {other} was trained with other settings than today's", file=sys.stderr)
    # A plain kill must not leave trainings behind that write where the next call will.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        failed = [] if args.report_only else train_all(runs, args.metric, args.jobs, args.threads)
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    table = format_table(runs, args.metric)
    print(table)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(table + "\n")
    results = [
        dict(
            config=run.config,
            seed=run.seed,
            value=run.value(args.metric),
            command=shlex.join(part for part in run.command if part != "--resume"),
        )
        for run in runs
    ]
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    return 1 if failed else 0
