# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Trainings as processes of their own, some at a time."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..utils.config_files import PACKAGE
from ..utils.processes import end_with_parent


@dataclass
class Training:
    """One ``mmsemi train``.

    Attributes:
        config: As the user named it.
        work_dir: Its folder.
        options: ``--cfg-options``, each as ``KEY=VALUE``.
        log: File that takes what it prints.
        seconds: How long it took.
    """

    config: str
    work_dir: Path
    options: Sequence[str]
    log: Path
    seconds: float = 0.0
    _process: subprocess.Popen | None = field(default=None, repr=False)
    _started: float = 0.0

    @property
    def arguments(self) -> list[str]:
        """What follows ``mmsemi train``."""
        return [self.config, "--work-dir", str(self.work_dir), "--cfg-options", *self.options]

    @property
    def command(self) -> list[str]:
        """The command line of the process."""
        # In a checkout the tools lie beside the package, in a wheel inside.
        roots = (PACKAGE.parent, PACKAGE / ".mim")
        tool = next(p for root in roots if (p := root / "tools" / "train.py").is_file())
        return [sys.executable, str(tool), *self.arguments]

    @property
    def exit_code(self) -> int | None:
        """None before it has ended."""
        return None if self._process is None else self._process.poll()

    def __str__(self) -> str:
        return shlex.join(["mmsemi", "train", *self.arguments])

    def start(self, threads: int) -> None:
        """Start the process with a number of CPU threads; its log goes on where an earlier one ended."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=env,
                preexec_fn=end_with_parent,
            )
        self._started = time.perf_counter()

    def stop(self) -> None:
        """End the process, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()


SomeTraining = TypeVar("SomeTraining", bound=Training)


def run_trainings(
    trainings: Sequence[SomeTraining],
    jobs: int,
    threads: int,
    progress: Callable[[SomeTraining], None] = lambda training: None,
    every: float = 20.0,
) -> Iterator[SomeTraining]:
    """Run trainings, and yield each one when it has ended.

    Closing the iterator ends those that still run.

    Args:
        trainings: In the order in which they start.
        jobs: How many run at a time.
        threads: CPU threads of each.
        progress: Called for each running one, every so many seconds.
        every: The seconds between these calls.
    """
    waiting, running = list(trainings), []
    shown = time.perf_counter()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                training = waiting.pop(0)
                print(training, flush=True)
                training.start(threads)
                running.append(training)
            time.sleep(min(0.5, every))
            for training in [one for one in running if one.exit_code is not None]:
                running.remove(training)
                training.seconds = time.perf_counter() - training._started
                yield training
            if time.perf_counter() - shown >= every:
                shown = time.perf_counter()
                for training in running:
                    progress(training)
    finally:
        for training in running:
            training.stop()
