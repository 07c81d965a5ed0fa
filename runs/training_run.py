# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One training of a row: its process, its folder, what it logged, and the numbers it ends with."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from mmsemi.cli.trainings import Training
from mmsemi.compat_checkpoints import load_checkpoint_file
from mmsemi.errors import TrainingError
from mmsemi.utils.packaged_weights import digest_of
from mmsemi.visualization.report import read_scalars
from mmsemi.visualization.run_files import read_run

from .analysis import own_analysis
from .code import ROOT, is_unchanged, snapshot
from .results import this_cpu
from .rows import Protocol, Row

#: How many iterations a record of the log of a measurement of cost is the mean of.
COST_INTERVAL = 10


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
    #: Settings that name the checkpoints which the run, and its second network, go on from.
    start_keys: ClassVar[tuple[str, str]] = ("load_from", "model.second_checkpoint")
    #: Whether the command makes what it starts from itself.
    trains_start: ClassVar[bool] = False

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
    def arguments(self) -> list[str]:
        """What follows ``mmsemi train``."""
        return [*super().arguments, *(["--resume"] if self.resumed else [])]

    @property
    def command(self) -> list[str]:
        """The command line of the process."""
        start = [sys.executable, "-m", "runs.training", str(self.report), self.model]
        return [*start, self.row.command, *self.arguments]

    @property
    def start_checkpoint(self) -> Path | None:
        """That of the run it goes on from; None for the weights that the config names."""
        return self._path_of(self.start_keys[0])

    @property
    def second_checkpoint(self) -> Path | None:
        """That which its second network goes on from, if it has one."""
        return self._path_of(self.start_keys[1])

    def _path_of(self, key: str) -> Path | None:
        given = [
            path for name, _, path in (one.partition("=") for one in self.options) if name == key
        ]
        return Path(given[-1]) if given else None

    @property
    def has_begun(self) -> bool:
        """Whether there is something to resume from."""
        return self.checkpoint is not None

    def prepare(self) -> None:
        """Go on where an earlier process was cut, or begin with an empty folder."""
        begun = self.work_dir / "begun.json"
        is_cut = begun.is_file() and self.has_begun and not self.report.is_file()
        self.resumed = is_cut and self.kind == "run" and is_unchanged(json.loads(begun.read_text()))
        if not self.resumed:
            shutil.rmtree(self.work_dir, ignore_errors=True)
            self.work_dir.mkdir(parents=True)
            begun.write_text(json.dumps(snapshot()))

    def records(self) -> list[dict]:
        """What was logged."""
        return logged(self.work_dir)

    @property
    def training_dirs(self) -> list[Path]:
        """The work dirs of its trainings, the first one first."""
        return [self.work_dir]

    def findings(self) -> list[dict]:
        """The warnings of the diagnosis."""
        return [finding for folder in self.training_dirs for finding in read_run(folder).findings]

    def explain_failure(self) -> str:
        """One line: the error of the log, or its last line."""
        lines = [line for line in self.log.read_text().splitlines() if line.strip()] or [""]
        errors = [line for line in lines if " error: " in line]
        return f"{self.name} failed: {(errors or lines)[-1]} ({self.log})"


def logged(work_dir: Path) -> list[dict]:
    """All that a training logged, also in processes that were cut, in the order of the steps."""
    found: dict[tuple[int, bool], dict] = {}
    for path in sorted(work_dir.glob("*/vis_data/scalars.json")):
        for record in read_scalars(path):
            found[record["step"], "iter" in record] = record
    return [found[key] for key in sorted(found)]


def weights_hash(checkpoint: Path) -> str:
    """SHA-256 of the names and values of a checkpoint's weights; the file's own has dates in it."""
    return digest_of(load_checkpoint_file(checkpoint, map_location="cpu")["state_dict"])


# ---------------------------------------------------------------- its result


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
            cpu=this_cpu(), torch=torch.__version__, python=platform.python_version(),
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
        analysis=own_analysis(run.records(), run.findings(), run.length),
        labels=split,
        weights=weights_hash(checkpoint),
        seconds=round(run.seconds),
        resumed=run.resumed,
    )


def cost_result(run: Run, load: float) -> dict[str, Any]:
    """Seconds per iteration and peak memory of a measurement; the first records are left out.

    Args:
        run: An ended one.
        load: How many cores other processes kept busy beside it.
    """
    times = [r["time"] for r in run.records() if "iter" in r and r["step"] > 2 * COST_INTERVAL]
    memory = json.loads(run.report.read_text())["memory"]
    return dict(time=round(statistics.median(times), 3), memory=memory, load=round(load, 2))


class OtherLoad:
    """How many cores other processes keep busy, on average since this object was made.

    The load average would count our own last run for minutes; it is taken only where there is no /proc/stat.
    """

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._before = cpu_seconds()

    def measure(self) -> float:
        """The mean so far; a child of this process counts as another one until it has ended."""
        now = cpu_seconds()
        if now is None:
            return os.getloadavg()[0]
        (total, own), (total_before, own_before) = now, self._before
        others = (total - total_before) - (own - own_before)
        return max(others, 0.0) / (time.monotonic() - self._begin)


def cpu_seconds() -> tuple[float, float] | None:
    """CPU seconds of the whole machine, and of this process with its ended children; None but on Linux."""
    path = Path("/proc/stat")
    if not path.is_file():
        return None
    # The first line: cpu, user, nice, system, idle, iowait, irq, softirq, steal. What the host takes away
    # (steal) delays a run as much as another process does.
    user, nice, system, _, _, *rest = map(int, path.read_text().split(maxsplit=9)[1:9])
    total = (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
    own = [resource.getrusage(one) for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return total, sum(one.ru_utime + one.ru_stime for one in own)


def compare_with_stored(result: Mapping, record: Mapping) -> list[str]:
    """What differs between a run and a stored result of the same row and seed; empty if nothing does."""
    names = (
        "settings",
        "start_weights",
        "second_start_weights",
        "labels",
        "last",
        "curve",
        "iou",
        "weights",
    )
    return [f"{n}: {record.get(n)} stored, {result.get(n)} now" for n in names
            if record.get(n) != result.get(n)]  # fmt: skip
