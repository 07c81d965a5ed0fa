# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Whether stored results are those of today's code, shown by the first steps of a training.

    python -m runs.first_steps nuclei [row]

A result whose code has changed since is marked in the tables, though most changes touch no number. To train a seed
again and compare the weights (:mod:`.run`) takes long, and it needs the kind of CPU that the result is from. Here the
first steps of a row, from its start and with a validation, are done by the commit of the stored result and by today's
code. If all weights and the score come out the same, the result says so (``equal``) and is not marked.

Decisions:

- Values are compared, not their names: a network may have been renamed since.
- The schedules are those of a short training, and what begins later in a method begins with the first step.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmsemi.cli import run as run_command
from mmsemi.compat_checkpoints import load_checkpoint_file
from mmsemi.errors import TrainingError

from .code import ROOT, file_hash, is_unchanged
from .make import make_run
from .results import add_result, code_of, read_all_results, read_code, this_cpu
from .rows import PROTOCOLS, Protocol, Row
from .run import find_start
from .settings import from_the_first_step, settings_hash
from .training_run import Run, logged

STEPS = 40
#: Beside the row's own; a metric of mmseg, which any commit has.
OPTIONS = (
    f"train_cfg.max_iters={STEPS}",
    f"train_cfg.val_interval={STEPS}",
    "val_dataloader.dataset.indices=8",
    "val_evaluator.type=IoUMetric",
)


def first_steps(run: Run, tree: Path, folder: Path) -> dict[str, Any]:
    """Train the first steps of a run with the code of a tree.

    Args:
        run: With its start.
        tree: The repository at some commit.
        folder: For the training, emptied before.

    Returns:
        ``values``: a hash of all weights; ``mIoU``.

    Raises:
        TrainingError: The training has failed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    arguments = [
        "train",
        run.config,
        "--work-dir",
        str(folder),
        "--cfg-options",
        *run.options,
        *OPTIONS,
        *from_the_first_step(run.row),
    ]
    report = folder / "report.json"
    here = tree == ROOT
    start = ["-m", "runs.training", str(report), run.model] if here else ["-m", "mmsemi"]
    # One thread in both, whatever the caller has: other sums have other last bits.
    env = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with open(folder / "train.log", "w") as log:
        code = subprocess.run(
            [sys.executable, *start, *arguments],
            cwd=tree, env=env, stdout=log, stderr=log, check=False,
        ).returncode  # fmt: skip
    scores = [r["mIoU"] for r in logged(folder) if "mIoU" in r and r["step"] == STEPS]
    if code or not scores:
        raise TrainingError(f"the first steps have failed: {folder / 'train.log'}")
    checkpoint = folder / f"iter_{STEPS}.pth"
    return dict(values=values_hash(checkpoint), mIoU=scores[-1])


def values_hash(checkpoint: Path) -> str:
    """SHA-256 of the values of a checkpoint's weights, whatever their names and order."""
    tensors = load_checkpoint_file(checkpoint, map_location="cpu")["state_dict"].values()
    each = sorted(hashlib.sha256(t.contiguous().numpy().tobytes()).digest() for t in tensors)
    return hashlib.sha256(b"".join(each)).hexdigest()


@contextmanager
def tree_of(commit: str, files: Mapping[str, str]) -> Iterator[Path]:
    """The repository at a commit, in a folder of its own.

    Args:
        commit: Of git.
        files: That a result was made with; it stands for them only if they are in the commit as they ran.

    Raises:
        TrainingError: The commit does not exist, or has other files.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "mmsemi")
        git = ["git", "-C", str(ROOT), "worktree"]
        added = subprocess.run(
            [*git, "add", "--detach", str(tree), commit],
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            if added.returncode:
                raise TrainingError(
                    f"commit {commit} cannot be checked out: {added.stderr.strip()}"
                )
            other = sorted(name for name, hash in files.items() if file_hash(tree / name) != hash)
            if other:
                raise TrainingError(f"commit {commit} has another {other[0]} than the one that ran")
            if (ROOT / "data").is_dir():
                (tree / "data").symlink_to(ROOT / "data")
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], capture_output=True, check=False)


def older_results(protocol: Protocol, row: Row) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Trainings of a row with today's settings and code that has changed since, by code and commit."""
    codes, found = read_code(), {}
    for records in read_all_results(protocol.data).values():
        for (kind, name, _), record in records.items():
            is_of_row = (kind, name) == ("run", row.name) and not record["changed"]
            if not is_of_row or record["settings"] != settings_hash(protocol, row):
                continue
            if not is_unchanged(codes[code_of(record, records)]):
                found.setdefault((record["code"], record["commit"]), []).append(record)
    return found


def check(protocol: Protocol, row: Row) -> bool:
    """Compare the first steps of a row's older codes with those of today's, and store what is equal.

    Returns:
        False if one differs, or could not be run.
    """
    older = older_results(protocol, row)
    if not older:
        print(f"{protocol.data} {row.name}: no older code", flush=True)
        return True
    run = make_run(protocol, row, protocol.seeds[0])
    codes, folder = read_code(), run.work_dir.with_name(f"{row.name}_first_steps")
    try:
        find_start(run)
        today = first_steps(run, ROOT, folder / "today")
    except TrainingError as error:
        print(f"{protocol.data} {row.name}: {error}", file=sys.stderr, flush=True)
        return False
    files = json.loads((folder / "today" / "report.json").read_text())["files"]
    is_equal = True
    for (code, commit), records in older.items():
        name = f"{protocol.data} {row.name}, {len(records)} of commit {commit[:8]}"
        try:
            with tree_of(commit, codes[code]) as tree:
                then = first_steps(run, tree, folder / commit[:8])
        except TrainingError as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            is_equal = False
            continue
        if then != today:
            print(f"{name}: differs, {then} then, {today} today", flush=True)
            is_equal = False
            continue
        print(
            f"{name}: the same weights and mIoU {today['mIoU']:.2f} after {STEPS} steps", flush=True
        )
        for record in records:
            add_result(
                {**record, "equal": dict(today, steps=STEPS, cpu=this_cpu())},
                codes[code],
                equal_files=files,
            )
    return is_equal


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Compare the first steps of stored results with those of today's code."
    )
    parser.add_argument("data", choices=PROTOCOLS)
    parser.add_argument("row", nargs="?", help="one row instead of all")
    args = parser.parse_args(arguments)
    protocol = PROTOCOLS[args.data]
    rows = [protocol.row(args.row)] if args.row else protocol.rows
    # Rounds of self-training have no first steps: what their stages do is spread over processes.
    rows = [row for row in rows if row.command == "train"]
    differing = [row.name for row in rows if not check(protocol, row)]
    return int(bool(differing))


if __name__ == "__main__":
    sys.exit(run_command("runs.first_steps", sys.argv[1:], "runs.first_steps"))
