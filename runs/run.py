# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``runs/<data set>.sh [method] [seed]``: the runs of a results table, those that are missing or one of them.

Decisions:

- A run is skipped if a result with its settings and its code is stored. The settings are what the
  config says with all that it inherits, and those of the run it starts from; where things lie does not
  count. The code is that of the files that the run has imported (:mod:`.code`). Where code has changed, the
  run of one seed is enough: if it gives the very same weights, the row's other seeds of that older code
  count as results of today's, too.
- A run that was cut is resumed, unless a file of mmsemi has changed since it began.
- What a run starts from is made again if its checkpoint is not there. Runs are deterministic on one
  machine; the hash of its weights is stored and compared.
- Another kind of CPU ends elsewhere, so a run starts from, and is compared with, runs of its own kind. One that
  another kind has a result of is skipped; ``--here`` runs it.
- One thread each. Several of these commands may run side by side: a run that another one is at is left
  to it.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from mmsemi.cli import run as run_command
from mmsemi.cli.trainings import run_trainings
from mmsemi.errors import ConfigError, DataError, TrainingError
from mmsemi.visualization.report import progress_line

from .code import ROOT, is_unchanged
from .make import make_run
from .results import (
    IDLE,
    add_result,
    code_of,
    has_other_start,
    read_all_results,
    read_code,
    read_results,
    this_cpu,
)
from .rows import PROTOCOLS, Protocol, second_seed
from .training_run import (
    OtherLoad,
    Run,
    compare_with_stored,
    cost_result,
    describe,
    training_result,
    weights_hash,
)


def start_checkpoint(run: Run, record: Mapping | None) -> Path | None:
    """The last checkpoint of a run, if it holds the weights of the stored result."""
    path = run.checkpoint
    if record is None or path is None or not run.report.is_file():
        return None
    return path if weights_hash(path) == record["weights"] else None


def status(run: Run) -> str:
    """What the results have of a run.

    Returns:
        ``stored``, ``other settings``, ``other start``, ``other code``, ``other CPU``, ``busy`` (a cost with
        something beside it) or ``missing``.
    """
    every = read_all_results(run.protocol.data)
    records, place = every.get(this_cpu(), {}), (run.kind, run.row.name, run.seed)
    record = records.get(place)
    if record is None:
        is_known = any(
            place in of_cpu and of_cpu[place]["settings"] == run.settings
            for of_cpu in every.values()
        )
        return "other CPU" if is_known else "missing"
    if record["settings"] != run.settings:
        return "other settings"
    if has_other_start(record, records):
        return "other start"
    if run.kind == "cost" and record["load"] > IDLE:
        return "busy"
    return "stored" if is_unchanged(read_code()[code_of(record, records)]) else "other code"


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
    if not run.row.start or run.kind == "cost" or run.trains_start:
        return
    seeds = [run.seed, *([second_seed(run.seed)] if run.row.has_second else [])]
    paths = [_checkpoint_of_start(run, seed) for seed in seeds]
    run.options = [*run.options, *(f"{k}={p}" for k, p in zip(run.start_keys, paths))]


def _checkpoint_of_start(run: Run, seed: int) -> Path | None:
    start = make_run(run.protocol, run.protocol.row(run.row.start), seed)
    with _alone(start, wait=True):
        have = status(start)
        record = read_results(run.protocol.data).get(("run", start.row.name, seed))
        # Of other code it is as good: what counts are the weights, which are those of the stored result.
        path = start_checkpoint(start, record) if have in ("stored", "other code") else None
        if path is not None:
            return path
        start.again = have == "stored"
        if not execute(start) and not run.again:
            raise TrainingError(
                f"{run.name} failed: its start is not the stored one on this machine, so it would not "
                f"belong to the rows that are stored: remove the results of seed {seed} from "
                f"docs/results/{run.protocol.data}.jsonl to make all of them here"
            )
        return start.checkpoint


def execute(run: Run) -> bool:
    """Run, and store the result or compare it with the stored one.

    Returns:
        False if the numbers of a repeated run are not the stored ones.

    Raises:
        TrainingError: The training has failed.
    """
    before = describe(run)
    find_start(run)
    others = OtherLoad()
    train(run)
    numbers = cost_result(run, others.measure()) if run.kind == "cost" else training_result(run)
    result = {**before, **numbers}
    if run.row.start and run.kind == "run":
        result["start_weights"] = weights_hash(run.start_checkpoint)
    if run.row.has_second and run.kind == "run":
        result["second_start_weights"] = weights_hash(run.second_checkpoint)
    record = read_results(run.protocol.data).get((run.kind, run.row.name, run.seed))
    files = json.loads(run.report.read_text())["files"]
    if run.again and record is not None:
        differences = compare_with_stored(result, record)
        said = "the stored number" if not differences else f"NOT the stored one: {differences[0]}"
        print(f"{run.name}: mIoU {result['last']['mIoU']:.2f}, {said}", flush=True)
        return not differences
    if record is not None and run.kind == "run" and not compare_with_stored(result, record):
        result["same_as"] = sorted({record["code"], *record.get("same_as", ())})
    add_result(result, files)
    if run.kind == "cost":
        cost = f"{result['time']:.3f} s per iteration, {result['memory']} MiB"
        beside = f", beside {result['load']:.2f} busy cores" if result["load"] > IDLE else ""
        print(f"{run.name}: {cost}{beside}", flush=True)
    else:
        print(f"{run.name}: mIoU {result['last']['mIoU']:.2f} in {result['seconds']} s", flush=True)
    return True


def run_all(runs: Sequence[Run], keep: bool, here: bool) -> int:
    """Run what is not stored; a failed run does not keep the others from running.

    Args:
        keep: Leave results of other code as they are.
        here: Run also what another kind of CPU has a result of.
    """
    settled = {"stored"} | ({"other code"} if keep else set()) | (set() if here else {"other CPU"})
    failed = []
    for run in runs:
        with _alone(run, wait=False) as is_free:
            have = status(run) if is_free else "another process is at it"
            is_wanted = run.again or have not in settled
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
    parser.add_argument(
        "--here", action="store_true", help="run also what another kind of CPU has a result of"
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
    if kind == "cost":
        rows = [row for row in rows if row.command == "train"]
    if not rows:
        raise ConfigError(f"{method} has no cost: the steps of its rounds are those of the README")
    seeds = protocol.seeds[:1] if kind == "cost" else protocol.seeds
    return [
        make_run(protocol, row, one, kind, args.again)
        for one in ([int(seed)] if seed else seeds)
        for row in rows
        if seed or one in protocol.seeds_of(row)
    ]


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
        return run_all(runs, args.keep, args.here)
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    program = f"runs/{sys.argv[1]}.sh" if len(sys.argv) > 1 else "runs.run"
    sys.exit(run_command("runs.run", sys.argv[1:], program))
