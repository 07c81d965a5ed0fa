# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi compare``: several runs, one table and one page.

Work dirs are compared as they are. Of configs and seeds, every run is a training of its own. Runs that have ended are not repeated and broken-off ones are
resumed, so the command can be stopped and started again; a folder whose run had other settings is
refused. The value of a run is that of its last validation, never the best one; of a config that is
fused with image-level scores it is the fused one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import statistics
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..datasets.splits import get_protocol
from ..errors import ConfigError
from ..evaluation import GatedIoUMetric, ImageLevelGate
from ..utils.config_files import parse_options, read_config
from ..utils.files import write_beside
from ..utils.markdown import format_table
from ..visualization.compare_report import Compared, compare_page, compared_table, read_compared
from ..visualization.report import find_scalars, read_scalars
from .trainings import Training, run_trainings


@dataclass(kw_only=True)
class Run(Training):
    """A config with a seed; it continues where an earlier training in its folder broke off.

    Attributes:
        seed: Of the run.
        fold: Of its labelled list; None: that of the config.
        max_iters: Its length.
        settings: Hash of the config with its options.
        prefix: Of its metrics in the log: 'fused/' of a fused config, else ''.
    """

    seed: int
    max_iters: int
    fold: int | None = None
    settings: str = ""
    prefix: str = ""

    @property
    def column(self) -> str:
        """What tells it from other runs of its config."""
        return f"seed {self.seed}" if self.fold is None else f"fold {self.fold}, seed {self.seed}"

    @property
    def command(self) -> list[str]:
        """The command line of the process."""
        is_broken_off = (self.work_dir / "last_checkpoint").is_file()
        return [*super().command, *(["--resume"] if is_broken_off else [])]

    @property
    def has_other_settings(self) -> bool:
        """Whether the folder holds a run that was started with another config or other options."""
        record = self.work_dir / "settings.sha256"
        return record.is_file() and record.read_text().strip() != self.settings

    def start(self, threads: int) -> None:
        """Start the process, and record its settings."""
        self.work_dir.mkdir(parents=True, exist_ok=True)
        (self.work_dir / "settings.sha256").write_text(self.settings + "\n")
        super().start(threads)

    def records(self) -> list[dict]:
        """What the newest training of the folder has logged."""
        path = find_scalars(self.work_dir)
        return read_scalars(path) if path else []

    def key(self, metric: str) -> str:
        """The name of a metric in its log."""
        return metric if metric.startswith(self.prefix) else self.prefix + metric

    def value(self, metric: str) -> float | None:
        """The metric of the validation at the last iteration, or None before it."""
        records, key = self.records(), self.key(metric)
        values = [r[key] for r in records if key in r and r.get("step") == self.max_iters]
        return values[-1] if values else None


def max_iters(config: Config) -> int:
    """Length of a training.

    Raises:
        ConfigError: The config trains by epochs.
    """
    length = (config.get("train_cfg") or {}).get("max_iters")
    if not isinstance(length, (int, float)) or length != int(length):
        raise ConfigError(
            f"{config.filename} has train_cfg.max_iters={length}: only trainings by iterations compare"
        )
    return int(length)


def gated_metrics(evaluator: Any) -> list[dict]:
    """The configs of the metrics of an evaluator that are fused with image-level scores."""
    metrics = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator or {}]
    return [metric for metric in metrics if "GatedIoUMetric" in str(metric.get("type"))]


def fused_prefix(config: Config) -> str:
    """What the metrics of a fused config begin with in the log, '' for any other config.

    Raises:
        ConfigError: ``GatedIoUMetric`` is in ``test_evaluator`` alone, so the log of a training has no
            fused evaluation, and the plain one is another number.
    """
    gated = gated_metrics(config.get("val_evaluator"))
    if gated_metrics(config.get("test_evaluator")) and not gated:
        raise ConfigError(
            f"{config.filename} is fused with image-level scores in its test only, so the log of its "
            "training has no fused evaluation: set val_evaluator = test_evaluator"
        )
    return f"{gated[0].get('prefix') or GatedIoUMetric.default_prefix}/" if gated else ""


def own_options(args: argparse.Namespace) -> dict[str, list[str]]:
    """The ``--cfg-options`` of each config: those for ``gate`` are for the fused ones, if there are any."""
    fused = {
        name: bool(gated_metrics(read_config(name).get("test_evaluator"))) for name in args.configs
    }
    common = [pair for pair in args.cfg_options if not pair.startswith("gate.")]
    return {
        name: common if any(fused.values()) and not is_fused else args.cfg_options
        for name, is_fused in fused.items()
    }


def plan_runs(args: argparse.Namespace) -> list[Run]:
    """All runs of a command line.

    Raises:
        ConfigError: A config or option is wrong, or two configs would share a folder.
        DataError: The score table of a fused config is missing.
    """
    runs, names = [], {}
    for name, options in own_options(args).items():
        filename = Path(read_config(name, parse_options(options)).filename)
        folder = Path(args.out) / f"{filename.parent.name}_{filename.stem}"
        if folder in names:
            raise ConfigError(f"{names[folder]} and {name} would both be written to {folder}")
        names[folder] = name
        for fold in dict.fromkeys(args.folds or [None]):
            of_fold = [] if fold is None else [f"train_dataloader.dataset.split.fold={fold}"]
            own = [*of_fold, *options]
            config = read_config(name, parse_options(own))
            if fold is not None:
                _check_fold(config)
            prefix = fused_prefix(config)
            for metric in [] if args.report_only else gated_metrics(config.get("val_evaluator")):
                ImageLevelGate.build(metric.get("gate") or {})  # refuses a table that is not there
            text = json.dumps(config.to_dict(), sort_keys=True, default=str)
            for seed in dict.fromkeys(args.seeds):
                work_dir = folder / f"{'' if fold is None else f'fold{fold}_'}seed{seed}"
                run = Run(
                    config=str(name),
                    work_dir=work_dir,
                    options=[f"randomness.seed={seed}", *own],
                    log=work_dir / "train.log",
                    seed=seed,
                    fold=fold,
                    max_iters=max_iters(config),
                    settings=hashlib.sha256(text.encode()).hexdigest(),
                    prefix=prefix,
                )
                runs.append(run)
    return runs


def _check_fold(config: Config) -> None:
    """Refuse a split without folds before anything is trained."""
    split = ((config.get("train_dataloader") or {}).get("dataset") or {}).get("split") or {}
    if split.get("type") != "PublishedSplit" or not split.get("name"):
        raise ConfigError(
            f"--folds: {config.filename} has the split {dict(split)}, only published ones have folds"
        )
    get_protocol(split["name"], split["fold"])


def explain_failure(run: Run, metric: str) -> str:
    """Why an ended training has no value."""
    records = [record for record in run.records() if record.get("step") == run.max_iters]
    if run.exit_code or not records:
        return f"{run.work_dir} failed, see {run.log}"
    known = sorted({key for record in records if "iter" not in record for key in record})
    if not known:
        return f"{run.work_dir} ended without a validation at iteration {run.max_iters}: see val_interval"
    missing = f"{run.work_dir} has no metric {run.key(metric)} (known: {', '.join(known)})"
    if run.prefix and run.key(metric).removeprefix(run.prefix) in known:
        return f"{missing}: it was trained without the fused evaluation, give another --out"
    return f"{missing}: give --metric"


def lacks_fusion(run: Run, metric: str) -> bool:
    """Whether the log of a fused run ends with the plain metric alone."""
    plain = run.key(metric).removeprefix(run.prefix)
    at_end = [record for record in run.records() if record.get("step") == run.max_iters]
    return bool(run.prefix) and run.value(metric) is None and any(plain in r for r in at_end)


def train_all(runs: Sequence[Run], metric: str, jobs: int, threads: int) -> list[Run]:
    """Run what has not ended, at most ``jobs`` at a time; returns the runs that failed."""
    failed = []
    with closing(
        run_trainings([run for run in runs if run.value(metric) is None], jobs, threads)
    ) as ended:
        for run in ended:
            value = run.value(metric)
            if run.exit_code or value is None:
                failed.append(run)
                print(explain_failure(run, metric), flush=True)
            else:
                print(
                    f"{run.work_dir} {run.key(metric)} {value:.2f} in {run.seconds:.0f} s",
                    flush=True,
                )
    return failed


def runs_table(runs: Sequence[Run], metric: str) -> str:
    """A Markdown table: a row a config, a column a seed, mean and deviation, gain over the first."""
    configs = list(dict.fromkeys(run.config for run in runs))
    columns = list(dict.fromkeys(run.column for run in runs))
    values = {(run.config, run.column): run.value(metric) for run in runs}
    rows, baseline = [], None
    for config in configs:
        row = [values[config, column] for column in columns]
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
        fused = next(
            (f" ({run.key(metric)})" for run in runs if run.config == config and run.prefix), ""
        )
        rows.append([f"{config}{fused}", *cells, mean, deviation, gain])
    return format_table([metric, *columns, "mean", "deviation", "gain"], rows)


#: Arguments that say how configs are trained, and what they are if not given.
TRAINING_DEFAULTS = dict(
    seeds=[0, 1, 2], folds=None, jobs=1, threads=1, report_only=False, cfg_options=[]
)


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        ConfigError: An argument is out of range, or work dirs and configs are mixed.
    """
    parser = argparse.ArgumentParser(
        description="Compare runs in one table and one page, OUT/report.html; gains are those over the "
        "first one. Work dirs are compared as they are. Configs are trained with several seeds: ended runs "
        "are not repeated, broken-off ones are resumed.",
        epilog="guide: docs/report.md",
    )
    parser.add_argument(
        "configs", nargs="+", metavar="WORK_DIR or CONFIG", help="the baseline first"
    )
    parser.add_argument("--metric", default="mIoU", help="(default: mIoU)")
    parser.add_argument(
        "--out",
        default="work_dirs/compare",
        help="folder of what is written (default: %(default)s)",
    )
    add = parser.add_argument_group("for configs").add_argument
    add("--seeds", type=int, nargs="+", help="(default: 0 1 2)")
    add(
        "--folds", type=int, nargs="+", help="folds of each config's published split, each a column"
    )
    add("--jobs", type=int, help="trainings at a time (default: 1)")
    add("--threads", type=int, help="CPU threads of each training (default: 1)")
    add("--report-only", action="store_true", default=None, help="train nothing")
    add("--cfg-options", nargs="+", help="for every training")
    args = parser.parse_args(arguments)
    folders = [name for name in args.configs if Path(name).is_dir()]
    args.has_work_dirs = bool(folders)
    for name in args.configs:
        if folders and name not in folders:
            raise ConfigError(
                f"'{folders[0]}' is a folder and '{name}' is none: give work dirs alone"
            )
    for name, value in TRAINING_DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
        elif folders:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{option} is for configs that are trained, '{folders[0]}' is a work dir"
            )
    if args.jobs < 1 or args.threads < 1:
        raise ConfigError(f"--jobs {args.jobs} --threads {args.threads}: both must be at least 1")
    return args


def write_page(compared: Sequence[Compared], metric: str, out: Path) -> None:
    """Write ``report.html`` of several runs."""
    page = compare_page(compared, metric).render().encode()
    write_beside(out / "report.html", lambda file: file.write(page))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``mmsemi compare``."""
    args = parse_args(arguments)
    if not args.has_work_dirs:
        return compare_configs(args)
    out = Path(args.out)
    compared = read_compared(args.configs, args.metric)
    write_page(compared, args.metric, out)
    table = compared_table(compared, args.metric)
    (out / "table.md").write_text(table)
    print(f"{table}{out / 'report.html'}")
    return 0


def compare_configs(args: argparse.Namespace) -> int:
    """Train what is missing, and write the table, the page and the results; returns the exit code."""
    runs = plan_runs(args)
    other = next((run.work_dir for run in runs if run.has_other_settings), None)
    if other is not None and not args.report_only:
        raise ConfigError(
            f"{other} holds a run with another config or other --cfg-options: give another --out, or "
            "remove it"
        )
    if other is not None:
        print(f"note: {other} was trained with other settings than today's", file=sys.stderr)
    # A plain kill must not leave trainings behind that write where the next call will.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if args.report_only:
            failed = [run for run in runs if lacks_fusion(run, args.metric)]
            for run in failed:
                print(explain_failure(run, args.metric), file=sys.stderr)
        else:
            failed = train_all(runs, args.metric, args.jobs, args.threads)
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    table = runs_table(runs, args.metric)
    print(table, end="")
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(table)
    results = [
        dict(
            config=run.config,
            seed=run.seed,
            fold=run.fold,
            metric=run.key(args.metric),
            value=run.value(args.metric),
            command=str(run),
        )
        for run in runs
    ]
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    shown = [run for run in runs if run.value(args.metric) is not None]
    if shown:
        keys = [run.key(args.metric) for run in shown]
        names = [
            f"{run.config} {run.column}" + (f" ({key})" if run.prefix else "")
            for run, key in zip(shown, keys)
        ]
        folders = [run.work_dir for run in shown]
        write_page(read_compared(folders, args.metric, names, keys), args.metric, out)
        print(out / "report.html")
    return 1 if failed else 0
