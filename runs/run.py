# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``runs/<data set>.sh [method] [seed]``: the runs of a results table, those that are missing or one of them.

Decisions:

- A run is skipped if a result with its settings and its code is stored. The settings are what the
  config says with all that it inherits, and those of the run it starts from; where things lie does not
  count. The code is that of the files that the run has imported (:mod:`.code`).
- A run that was cut is resumed, unless a file of mmsemi has changed since it began.
- What a run starts from is made again if its checkpoint is not there. Runs are deterministic on one
  machine; the hash of its weights is stored and compared.
- One thread each. Several of these commands may run side by side: a run that another one is at is left
  to it.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

import mmsemi  # noqa: F401  # before mmseg, for mmcv-lite
from mmsemi.cli import run as run_command
from mmsemi.cli.trainings import Training, run_trainings
from mmsemi.compat_checkpoints import load_checkpoint_file
from mmsemi.errors import ConfigError, DataError, TrainingError
from mmsemi.utils.config_files import parse_options, read_config
from mmsemi.utils.config_keys import READABLE
from mmsemi.visualization.report import progress_line, read_scalars

from .code import ROOT, file_hash, is_unchanged, snapshot
from .results import IDLE, add_result, has_other_start, read_code, read_results
from .rows import PROTOCOLS, Protocol, Row

WORK = ROOT / "work_dirs" / "runs"
#: Settings of every run: the same numbers each time, IoU per class in the log, one checkpoint.
OPTIONS = (
    "randomness.deterministic=True",
    "val_evaluator.type=ClassIoUMetric",
    "default_hooks.checkpoint.save_best=None",
    "default_hooks.checkpoint.max_keep_ckpts=1",
)
#: Iterations of a measurement of cost, and how many a record of its log is the mean of.
COST_ITERS, COST_INTERVAL = 60, 10
COST_OPTIONS = (
    f"train_cfg.max_iters={COST_ITERS}",
    "train_cfg.val_interval=1000000",
    f"default_hooks.logger.interval={COST_INTERVAL}",
)


# ---------------------------------------------------------------- settings


@cache
def row_config(row: Row, *options: str) -> Config:
    """The resolved config of a row with further options, for any seed; not to be changed."""
    return read_config(row.config, parse_options((*OPTIONS, *row.options, *options)))


@cache
def settings_hash(protocol: Protocol, row: Row) -> str:
    """One hash of all settings of a row and of the row it starts from.

    Left out are the seed, which is a key of the results, the work dir, and the folders of absolute
    paths. A list or table of the repository that a setting names counts with its content.
    """
    config = row_config(row)
    settings = {key: value for key, value in config.to_dict().items() if key in READABLE}
    for name in ("work_dir", "resume", "launcher"):
        settings.pop(name, None)
    settings["randomness"] = {k: v for k, v in settings["randomness"].items() if k != "seed"}
    if row.start:
        settings["load_from"] = settings_hash(protocol, protocol.row(row.start))
    text = json.dumps(_without_places(settings), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_places(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_places(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_places(part) for part in value]
    if isinstance(value, str):
        if os.path.isabs(value):
            return os.path.basename(value)
        if value.endswith((".txt", ".json")) and (ROOT / value).is_file():
            return f"{value} {file_hash(ROOT / value)}"
    return value


# ---------------------------------------------------------------- one run


@dataclass(kw_only=True)
class Run(Training):
    """A row with a seed, as a process.

    Attributes:
        protocol: Of the data set.
        row: What is trained.
        seed: Of the run.
        kind: ``run`` or ``cost``.
        again: Whether it is to be compared with a stored result instead of being one.
        length: Optimiser steps.
        model: Type of the model.
        settings: :func:`settings_hash` of the row.
    """

    protocol: Protocol
    row: Row
    seed: int
    kind: str = "run"
    again: bool = False
    length: int
    model: str
    settings: str
    resumed: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.protocol.data} {self.row.name} seed {self.seed}"

    def __str__(self) -> str:
        return f"{self.name}: training, log in {self.log}"

    @property
    def report(self) -> Path:
        """What the process leaves at its end."""
        return self.work_dir / "report.json"

    @property
    def checkpoint(self) -> Path | None:
        """The newest one, if there is one."""
        record = self.work_dir / "last_checkpoint"
        path = self.work_dir / Path(record.read_text()).name if record.is_file() else None
        return path if path is not None and path.is_file() else None

    @property
    def command(self) -> list[str]:
        """The command line of the process."""
        start = [sys.executable, "-m", "runs.training", str(self.report), self.model]
        return [*start, *self.arguments, *(["--resume"] if self.resumed else [])]

    def prepare(self) -> None:
        """Go on where an earlier process was cut, or begin with an empty folder."""
        begun = self.work_dir / "begun.json"
        is_cut = begun.is_file() and self.checkpoint is not None and not self.report.is_file()
        self.resumed = is_cut and self.kind == "run" and is_unchanged(json.loads(begun.read_text()))
        if not self.resumed:
            shutil.rmtree(self.work_dir, ignore_errors=True)
            self.work_dir.mkdir(parents=True)
            begun.write_text(json.dumps(snapshot()))

    def records(self) -> list[dict]:
        """All that was logged, also by processes that were cut, in the order of the steps."""
        found: dict[tuple[int, bool], dict] = {}
        for path in sorted(self.work_dir.glob("*/vis_data/scalars.json")):
            for record in read_scalars(path):
                found[record["step"], "iter" in record] = record
        return [found[key] for key in sorted(found)]

    def explain_failure(self) -> str:
        """One line: the error of the log, or its last line."""
        lines = [line for line in self.log.read_text().splitlines() if line.strip()] or [""]
        errors = [line for line in lines if " error: " in line]
        return f"{self.name} failed: {(errors or lines)[-1]} ({self.log})"


def make_run(
    protocol: Protocol, row: Row, seed: int, kind: str = "run", again: bool = False
) -> Run:
    """A run of a row, with its folder and options."""
    extra = COST_OPTIONS if kind == "cost" else ()
    config = row_config(row, *extra)
    settings = settings_hash(protocol, row)
    suffix = "_cost" if kind == "cost" else "_again" if again else ""
    folder = WORK / protocol.data / f"{row.name}_seed{seed}_{settings[:8]}{suffix}"
    return Run(
        config=row.config,
        work_dir=folder,
        options=[f"randomness.seed={seed}", *OPTIONS, *row.options, *extra],
        log=folder / "train.log",
        protocol=protocol,
        row=row,
        seed=seed,
        kind=kind,
        again=again,
        length=config.train_cfg.max_iters,
        model=config.model.type,
        settings=settings,
    )


def weights_hash(checkpoint: Path) -> str:
    """SHA-256 of the names and values of a checkpoint's weights; the file's own has dates in it."""
    state = load_checkpoint_file(checkpoint, map_location="cpu")["state_dict"]
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def start_checkpoint(run: Run, record: Mapping | None) -> Path | None:
    """The last checkpoint of a run, if it holds the weights of the stored result."""
    path = run.checkpoint
    if record is None or path is None or not run.report.is_file():
        return None
    return path if weights_hash(path) == record["weights"] else None


# ---------------------------------------------------------------- results


def status(run: Run) -> str:
    """What the results have of a run.

    Returns:
        ``stored``, ``other settings``, ``other start``, ``other code`` or ``missing``.
    """
    records = read_results(run.protocol.data)
    record = records.get((run.kind, run.row.name, run.seed))
    if record is None:
        return "missing"
    if record["settings"] != run.settings:
        return "other settings"
    if has_other_start(record, records):
        return "other start"
    return "stored" if is_unchanged(read_code()[record["code"]]) else "other code"


def describe(run: Run) -> dict[str, Any]:
    """What a line of the results says about a run before its numbers."""
    git = _git()
    return dict(
        data=run.protocol.data,
        kind=run.kind,
        method=run.row.name,
        seed=run.seed,
        start=run.row.start,
        config=run.config,
        options=list(run.options),
        command=" ".join(
            [f"runs/{run.protocol.data}.sh", *(["cost"] if run.kind == "cost" else []), run.row.name,
             *([str(run.seed)] if run.kind == "run" else [])]
        ),  # fmt: skip
        settings=run.settings,
        **git,
        machine=dict(
            cpu=_cpu(), torch=torch.__version__, python=platform.python_version(),
            device="cuda" if torch.cuda.is_available() else "cpu",
        ),
        date=time.strftime("%Y-%m-%d %H:%M"),
    )  # fmt: skip


def _git() -> dict[str, Any]:
    def ask(*arguments: str) -> str | None:
        answer = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return answer.stdout.strip() if answer.returncode == 0 else None

    changes = ask("status", "--porcelain", "--", "mmsemi", "runs", "configs", "splits")
    return dict(commit=ask("rev-parse", "HEAD"), changed=None if changes is None else bool(changes))


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def training_result(run: Run) -> dict[str, Any]:
    """The numbers of an ended training.

    Raises:
        TrainingError: It has no validation at its last step.
    """
    curve = [r for r in run.records() if "iter" not in r and "mIoU" in r]
    if not curve or curve[-1]["step"] != run.length:
        raise TrainingError(
            f"{run.name} ended without a validation at step {run.length}: {run.log}"
        )

    def scores(record: Mapping, name: str) -> dict[str, float]:
        return {k: round(v, 2) for k, v in record.items() if k.split("/")[-1].startswith(name)}

    checkpoint, last = run.checkpoint, scores(curve[-1], "mIoU")
    split = load_checkpoint_file(checkpoint, map_location="cpu")["meta"].get("split")
    return dict(
        steps=run.length,
        last=last,
        best={name: max(scores(r, "mIoU").get(name, 0.0) for r in curve) for name in last},
        iou=scores(curve[-1], "IoU."),
        curve=[
            dict(step=record["step"], **scores(record, "mIoU"), **scores(record, "batch_norm_gap"))
            for record in curve
        ],
        labels=split,
        weights=weights_hash(checkpoint),
        seconds=round(run.seconds),
        resumed=run.resumed,
    )


def cost_result(run: Run, load: float) -> dict[str, Any]:
    """Seconds per iteration and peak memory of a measurement; the first records are left out."""
    times = [r["time"] for r in run.records() if "iter" in r and r["step"] > 2 * COST_INTERVAL]
    memory = json.loads(run.report.read_text())["memory"]
    return dict(time=round(statistics.median(times), 3), memory=memory, load=round(load, 2))


def compare_with_stored(result: Mapping, record: Mapping) -> list[str]:
    """What differs between a run and a stored result of the same row and seed; empty if nothing does."""
    names = ("settings", "start_weights", "labels", "last", "curve", "iou", "weights")
    return [f"{n}: {record.get(n)} stored, {result.get(n)} now" for n in names
            if record.get(n) != result.get(n)]  # fmt: skip


# ---------------------------------------------------------------- the runner


@contextmanager
def _alone(run: Run, wait: bool) -> Iterator[bool]:
    """Hold a run against other runners; yields whether it was free."""
    run.work_dir.parent.mkdir(parents=True, exist_ok=True)
    with open(run.work_dir.with_suffix(".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def train(run: Run) -> None:
    """Train to the end.

    Raises:
        TrainingError: The process has failed.
    """
    run.prepare()
    if run.resumed:
        print(f"{run.name}: resumed", flush=True)

    def progress(one: Run) -> None:
        print(progress_line(one.name, one.records(), one.length), flush=True)

    with closing(run_trainings([run], 1, 1, progress, every=30.0)) as ended:
        for one in ended:
            if one.exit_code or not one.report.is_file():
                raise TrainingError(one.explain_failure())


def find_start(run: Run) -> None:
    """Let a run begin with the checkpoint of its start, which is made if it is not there.

    Raises:
        TrainingError: The start gives other weights than those that are stored, on another machine
            perhaps, and the run would be stored beside runs that began with these.
    """
    if not run.row.start or run.kind == "cost":
        return
    start = make_run(run.protocol, run.protocol.row(run.row.start), run.seed)
    with _alone(start, wait=True):
        have = status(start)
        record = read_results(run.protocol.data).get(("run", start.row.name, start.seed))
        path = start_checkpoint(start, record) if have == "stored" else None
        if path is None:
            start.again = have == "stored"
            if not execute(start) and not run.again:
                raise TrainingError(
                    f"{run.name} failed: its start is not the stored one on this machine, so it would not "
                    f"belong to the rows that are stored: remove the results of seed {run.seed} from "
                    f"docs/results/{run.protocol.data}.jsonl to make all of them here"
                )
            path = start.checkpoint
    run.options = [*run.options, f"load_from={path}"]


def execute(run: Run) -> bool:
    """Run, and store the result or compare it with the stored one.

    Returns:
        False if the numbers of a repeated run are not the stored ones.

    Raises:
        TrainingError: The training has failed.
    """
    before = describe(run)
    find_start(run)
    load = os.getloadavg()[0]
    if run.kind == "cost" and load > IDLE:
        print(
            f"note: the load of this machine is {load:.2f}: the table will say that it was not idle"
        )
    train(run)
    numbers = cost_result(run, load) if run.kind == "cost" else training_result(run)
    result = {**before, **numbers}
    if run.row.start and run.kind == "run":
        start = Path(run.options[-1].removeprefix("load_from="))
        result["start_weights"] = weights_hash(start)
    record = read_results(run.protocol.data).get((run.kind, run.row.name, run.seed))
    files = json.loads(run.report.read_text())["files"]
    if run.again and record is not None:
        differences = compare_with_stored(result, record)
        said = "the stored number" if not differences else f"NOT the stored one: {differences[0]}"
        print(f"{run.name}: mIoU {result['last']['mIoU']:.2f}, {said}", flush=True)
        return not differences
    add_result(result, files)
    if run.kind == "cost":
        print(
            f"{run.name}: {result['time']:.3f} s per iteration, {result['memory']} MiB", flush=True
        )
    else:
        print(f"{run.name}: mIoU {result['last']['mIoU']:.2f} in {result['seconds']} s", flush=True)
    return True


def run_all(runs: Sequence[Run], keep: bool) -> int:
    """Run what is not stored; a failed run does not keep the others from running.

    Args:
        keep: Leave results of other code as they are.
    """
    failed = []
    for run in runs:
        with _alone(run, wait=False) as is_free:
            have = status(run) if is_free else "another process is at it"
            is_wanted = run.again or have not in ("stored", "other code" if keep else "stored")
            if not is_free or not is_wanted:
                print(f"{run.name}: {have}, skipped", flush=True)
                continue
            try:
                if not execute(run):
                    failed.append(run)
            except TrainingError as error:
                failed.append(run)
                print(error, file=sys.stderr, flush=True)
    if failed:
        print(f"{len(failed)} of {len(runs)} runs failed", file=sys.stderr)
    return int(bool(failed))


def parse_args(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Run the rows of a results table: those without a result, or one of them."
    )
    parser.add_argument("data", choices=PROTOCOLS)
    parser.add_argument("method", nargs="?", help="a row; 'cost [method]' measures time and memory")
    parser.add_argument("seed", nargs="?")
    parser.add_argument(
        "--again", action="store_true",
        help="run also what has a result, and say whether the number is the stored one",
    )  # fmt: skip
    parser.add_argument(
        "--keep", action="store_true", help="leave results of other code as they are"
    )
    parser.add_argument("--list", action="store_true", help="only show what has a result")
    return parser.parse_args(arguments)


def plan(args: argparse.Namespace) -> list[Run]:
    """The runs of a command line.

    Raises:
        ConfigError: There is no such row or seed.
    """
    protocol = PROTOCOLS[args.data]
    kind = "cost" if args.method == "cost" else "run"
    method, seed = (args.seed, None) if kind == "cost" else (args.method, args.seed)
    if kind == "cost" and args.again:
        raise ConfigError("cost has no --again: a measurement is not the same number twice")
    if seed is not None and not (seed.isdigit() and int(seed) in protocol.seeds):
        raise ConfigError(
            f"seed {seed} is none of {args.data}'s: {', '.join(map(str, protocol.seeds))}"
        )
    rows = [protocol.row(method)] if method else list(protocol.rows)
    seeds = [int(seed)] if seed else protocol.seeds[:1] if kind == "cost" else protocol.seeds
    return [make_run(protocol, row, one, kind, args.again) for one in seeds for row in rows]


def check_data(protocol: Protocol) -> None:
    """See that the images are there.

    Raises:
        DataError: They are not.
    """
    if not (ROOT / protocol.folder / "images" / "train").is_dir():
        raise DataError(
            f"there are no images in '{protocol.folder}': 'mmsemi prepare {protocol.data} DOWNLOAD' makes "
            "them from the public archive (docs/datasets.md says where it is)"
        )


def main(arguments: Sequence[str]) -> int:
    """The command line of the scripts."""
    args = parse_args(arguments)
    # A plain kill must not leave a training behind that writes where the next call will.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        runs = plan(args)
        if args.list:
            for run in runs:
                print(f"{run.name}: {status(run)}")
            return 0
        check_data(PROTOCOLS[args.data])
        return run_all(runs, args.keep)
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    program = f"runs/{sys.argv[1]}.sh" if len(sys.argv) > 1 else "runs.run"
    sys.exit(run_command("runs.run", sys.argv[1:], program))
