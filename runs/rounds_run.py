# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One self-training of a row: ``mmsemi self-train``, whose rounds together are as long as another row.

The rounds go on from the run that the other rows start from. ST++ compares the checkpoints of that training, so the
command trains it again; the hash of its weights is stored and compared.
"""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from mmsemi.compat_checkpoints import find_last_checkpoint
from mmsemi.errors import ConfigError
from mmsemi.self_training.plan import Plan

from .settings import OPTIONS, row_config
from .training_run import Run, logged


class RoundsRun(Run):
    """A row of rounds with a seed. Of two models that label for each other the first one counts."""

    start_keys = ("self_training.baseline", "self_training.second.baseline")

    @property
    def trains_start(self) -> bool:
        """Whether the images come in by what earlier checkpoints of the baseline say."""
        return self.plan.images is not None

    @property
    def out(self) -> Path:
        """Folder of all stages."""
        return self.work_dir / "rounds"

    @property
    def plan(self) -> Plan:
        """What the config says of the rounds."""
        return Plan.read(row_config(self.row))

    def training_of(self, stage: str) -> Path:
        """The folder of a stage's training, of the first model where there are two."""
        end = "_a" if self.plan.mode == "mutual" else ""
        return self.out / f"{stage}{end}" / "train" / "run"

    @property
    def rounds(self) -> list[tuple[Path, int]]:
        """Folder and length of the training of each round."""
        lengths = self.plan.iterations
        return [(self.training_of(f"round_{n}"), length) for n, length in enumerate(lengths, 1)]

    @property
    def checkpoint(self) -> Path | None:
        """The last one of the last round, if there is one."""
        path = find_last_checkpoint(self.rounds[-1][0])
        return Path(path) if path else None

    @property
    def start_checkpoint(self) -> Path | None:
        """The last one of the baseline."""
        if not self.trains_start:
            return super().start_checkpoint
        path = find_last_checkpoint(self.training_of("baseline"))
        return Path(path) if path else None

    @property
    def arguments(self) -> list[str]:
        """What follows ``mmsemi self-train``."""
        seed = ["--seed", str(self.seed)]
        options = ["--cfg-options", *self.options]
        options += ["--baseline-options", *OPTIONS] if self.trains_start else []
        return [self.config, "--out", str(self.out), *seed, *options]

    @property
    def has_begun(self) -> bool:
        """Whether a stage has ended or begun."""
        return self.out.is_dir()

    @property
    def training_dirs(self) -> list[Path]:
        """Those of the rounds."""
        return [folder for folder, _ in self.rounds]

    def records(self) -> list[dict]:
        """What the rounds logged, as of one training."""
        found, done = [], 0
        for folder, length in self.rounds:
            found += [{**record, "step": done + record["step"]} for record in logged(folder)]
            done += length
        return found


def length_of_rounds(config: Config) -> int:
    """Optimiser steps of all rounds.

    Raises:
        ConfigError: The config does not say how long each round is.
    """
    lengths = Plan.read(config).iterations
    if lengths is None:
        raise ConfigError(
            f"{config.filename}: a row needs self_training.iterations, a length for each round"
        )
    return sum(lengths)
