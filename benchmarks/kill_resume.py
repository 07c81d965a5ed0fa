# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Kills trainings with ``kill -9`` at random moments, resumes them, and compares them with undisturbed ones.

python -m benchmarks.kill_resume [--kills 60] [--methods cps s4gan] [--folder work_dirs/kill_resume]

Compared bit for bit: files, weights, optimisers, random states, records of training and validation, best
checkpoints. A second call goes on where the first one ended; exit code 1 if anything differed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import forked_runs as runs


@dataclass
class Kill:
    """One kill and its outcome.

    Attributes:
        number: Of the kill; decides everything random about it.
        method: That was trained.
        iteration: The last one that the log had when it came.
        whole_session: Whether the loader workers were killed, too.
        differences: From the undisturbed run, after resuming.
    """

    number: int
    method: str
    iteration: int
    whole_session: bool
    differences: list[str]


class Trainings:
    """Tiny trainings of methods in a folder, and an undisturbed one of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = runs.make_data(folder / "data")

    def start(self, method: str, work_dir: Path, *arguments: str) -> int:
        """Start one; the id of its process."""
        config = runs.tiny_config(method, self.data, self.folder / f"{method}.py")
        if method == "mlmt":
            out_file = f"val_evaluator.out_file={work_dir}/scores.npz"
            arguments = (*arguments, "--cfg-options", out_file)
        log = work_dir.with_suffix(".log")
        return runs.start("train.py", config, "--work-dir", work_dir, *arguments, log=log)

    def finish(self, pid: int, work_dir: Path) -> None:
        """Wait for a training that nothing disturbs."""
        code = runs.wait(pid)
        if code != 0:
            raise RuntimeError(f"exit code {code}, see {work_dir.with_suffix('.log')}")

    def undisturbed(self, method: str) -> Path:
        """Folder of the undisturbed training, which is run if it is not there."""
        work_dir = self.folder / f"{method}_undisturbed"
        done = work_dir / "done"
        if not done.exists():
            shutil.rmtree(work_dir, ignore_errors=True)
            self.finish(self.start(method, work_dir), work_dir)
            done.touch()
        return work_dir

    def kill(self, number: int, method: str, seed: int) -> Kill:
        """Kill a training, resume it and compare it."""
        straight, work_dir = self.undisturbed(method), self.folder / f"kill_{number}"
        draw = random.Random(f"{seed} {number}")
        while True:
            # After a drawn iteration, the last one included, and a part of the time that one takes.
            target, delay = draw.randint(0, runs.ITERS), draw.uniform(0, 0.3)
            whole_session = draw.random() < 0.5
            shutil.rmtree(work_dir, ignore_errors=True)
            pid = self.start(method, work_dir)
            while runs.last_iter(work_dir) < target and not os.waitid(
                os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT
            ):
                time.sleep(0.01)
            time.sleep(delay)
            (os.killpg if whole_session else os.kill)(pid, signal.SIGKILL)
            code = runs.wait(pid)
            runs.kill_session(pid)
            if code == -signal.SIGKILL:
                break
        iteration = runs.last_iter(work_dir)
        self.finish(self.start(method, work_dir, "--resume"), work_dir)
        differences = runs.compare_runs(straight, work_dir)
        if not differences:
            shutil.rmtree(work_dir)
        return Kill(number, method, iteration, whole_session, differences)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--methods", nargs="+", default=runs.METHODS, choices=runs.METHODS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("work_dirs/kill_resume"))
    args = parser.parse_args(arguments)
    runs.warm_up()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    results, kills = folder / "kills.json", []
    if results.exists():
        kills = [Kill(**one) for one in json.loads(results.read_text())]
    trainings, started, before = Trainings(folder), time.time(), len(kills)
    for number in range(len(kills), args.kills):
        method = args.methods[number % len(args.methods)]
        kills.append(trainings.kill(number, method, args.seed))
        results.write_text(json.dumps([asdict(one) for one in kills], indent=1))
        left = (time.time() - started) / (len(kills) - before) * (args.kills - len(kills))
        where = f"{method} killed after iteration {kills[-1].iteration}"
        outcome = "; ".join(kills[-1].differences[:5]) or "as undisturbed"
        print(
            f"{len(kills)}/{args.kills} {where}: {outcome} ({left / 60:.0f} min left)", flush=True
        )
    bad = [one for one in kills if one.differences]
    counts = ", ".join(
        f"{name} {count}" for name, count in Counter(k.method for k in kills).items()
    )
    print(f"{len(kills)} kills ({counts}), {len(kills) - len(bad)} as undisturbed")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
