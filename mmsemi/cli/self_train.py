# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi self-train CONFIG``: a baseline, then rounds of labelling and training, each a stock run.

The config is that of an ordinary training whose model is the student of a round, with a section
``self_training`` (self_training/plan.py). Each stage has a folder below --out with its config, log,
checkpoints or labels; ``state.json`` says what each was made of. The command can be killed at any time:
started again, it goes on inside the stage that was cut off, and a stage whose inputs have changed is done
again.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.registry import init_default_scope

from ..errors import ConfigError
from ..self_training.image_job import json_bytes
from ..self_training.report import plot_rounds, rounds_table
from ..self_training.rounds import SelfTraining
from ..utils.config_files import default_work_dir, find_config, parse_options, read_config
from ..utils.files import write_beside


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Train a baseline, then rounds of labelling and training. Started again, it goes on.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("config", help="an ordinary config with a section self_training")
    parser.add_argument("--out", help="folder of all stages (default: work_dirs/<config>)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gpus", type=int, default=1, help="processes of each stage")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, 2 in mutual mode")
    parser.add_argument("--cfg-options", nargs="+", default=[], help="for the rounds; data for all")
    parser.add_argument("--baseline-options", nargs="+", default=[], help="for the baseline")
    args = parser.parse_args(arguments)
    for name in ("gpus", "threads", "jobs"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name} {getattr(args, name)} must be at least 1")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``mmsemi self-train``."""
    args = parse_args(arguments)
    options = parse_options(args.cfg_options)
    config = read_config(args.config, options)
    init_default_scope("mmseg")
    out = Path(args.out or default_work_dir(find_config(args.config))).resolve()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        baseline_options = parse_options(args.baseline_options)
        rounds = SelfTraining(
            config,
            out,
            args.seed,
            options,
            baseline_options,
            gpus=args.gpus,
            threads=args.threads,
            jobs=args.jobs,
        )
        rows = rounds.run()
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    metric = rounds.plan.metric
    table = rounds_table(rows, metric, out)
    print(table, end="")
    for name, content in (
        ("table.md", table.encode()),
        ("results.json", json_bytes(rows)),
        ("rounds.png", plot_rounds(rows, metric)),
    ):
        write_beside(out / name, lambda file, content=content: file.write(content))
    return 0
