# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The process of one run: a command of mmsemi, with a report at its end.

    python -m runs.training REPORT MODEL train CONFIG [arguments of mmsemi train]
    python -m runs.training REPORT MODEL self_train CONFIG [arguments of mmsemi self-train]

MODEL is the type of the config's model. The report, a JSON file, is written when the training has ended
well: ``files``, those that it has run with their hashes, and ``memory``, the peak of the process in MiB.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from mmseg.registry import MODELS

import mmsemi  # noqa: F401  # before mmseg, for mmcv-lite
from mmsemi.cli import run
from mmsemi.errors import TrainingError
from mmsemi.utils.files import write_beside

from .code import countable_files, imported_files, snapshot

#: The commands whose processes are the stages of a self-training.
STAGES = ("self_train", "train", "pseudo_label", "reliability", "test")


def ran_files(before: Mapping[str, str], early: set[str], late: set[str]) -> dict[str, str]:
    """What a process has run: the content that its files had when it began.

    Args:
        before: Hashes of all files at the beginning.
        early: Names of those that were imported by then.
        late: Names of those that are imported now.

    Raises:
        TrainingError: A file was changed after the beginning and imported after that, perhaps.
    """
    now = snapshot()
    changed = sorted(name for name in late - early if before.get(name) != now[name])
    if changed:
        raise TrainingError(
            f"{changed[0]} was changed while the training ran, so it cannot be told which code has run: "
            "run it again, and edit in another worktree meanwhile"
        )
    return {name: before[name] for name in sorted(late | early)}


def main(report: str, model: str, command: str, *arguments: str) -> int:
    """Run on one thread; returns the exit code of the command."""
    before = snapshot()
    torch.set_num_threads(1)
    kind = MODELS.get(model)
    early = imported_files(kind)
    code = run(f"mmsemi.cli.{command}", arguments, f"mmsemi {command.replace('_', '-')}")
    if code == 0:
        late = imported_files(kind)
        if command == "self_train":  # its stages are processes, which import what this one does not
            late |= countable_files([kind, MODELS.get("Supervised")], STAGES)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        content = dict(files=ran_files(before, early, late), memory=round(memory))
        write_beside(Path(report), lambda file: file.write(json.dumps(content).encode()))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
