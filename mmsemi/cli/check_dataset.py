# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi check-dataset``: what is wrong with the images, masks and lists of a config."""

from __future__ import annotations

import argparse
import json
import os
import os.path as osp
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from ..datasets.checks import RULES, Check, Hit, check_config, is_failure, report
from ..errors import ConfigError, user_error
from ..utils.config_files import CfgOptions, default_work_dir, find_config, read_config
from ..visualization.contact_sheet import make_contact_sheet
from ..visualization.report import encode_png


class ProgressBar:
    """A bar on a terminal, a line every ten seconds elsewhere; to stderr, as results go to stdout."""

    def __init__(self) -> None:
        self._bar = None
        self._last = time.monotonic()

    def __enter__(self) -> ProgressBar:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

            self._bar = Progress(
                "reading files",
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=None)
            # Its thread starts with the first files, after the workers were forked.
        return self

    def __call__(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.start()
            self._bar.update(self._task, completed=done, total=total)
        elif time.monotonic() - self._last > 10:
            self._last = time.monotonic()
            print(f"reading files: {done} of {total}", file=sys.stderr, flush=True)

    def __exit__(self, *error) -> None:
        if self._bar is not None:
            self._bar.stop()


def add_contact_sheet(config: Mapping, result: Check, path: Path, title: str, rows: int) -> bool:
    """Write the contact sheet; a batch that cannot be made is a finding. Returns whether it is there."""
    if result.train_dataset is None:
        return False
    try:
        picture = make_contact_sheet(config, result.train_dataset, title, rows)
    except Exception as error:
        reason = str(user_error(error) or f"{type(error).__name__}: {error}").strip()
        known = is_failure(result.findings, strict=False)
        advice = "correct the errors above first" if known else "training would stop here, too"
        values = dict(reason=reason.splitlines()[0], advice=advice)
        hit = Hit("train_dataloader", (), values, "info" if known else None, count=1)
        result.findings.append(RULES["batch-cannot-be-made"].finding(hit))
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(picture))
    return True


def count_cpus() -> int:
    """The CPUs that this process may use, which a container or scheduler may have limited."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        ConfigError: An argument is out of range.
    """
    parser = argparse.ArgumentParser(
        description="Find what is wrong with the images, masks and lists of a config, and draw a "
        "contact sheet of a training batch as the model will see it.",
        epilog="exit code: 0 clean, 1 errors found (with --strict also warnings), 2 wrong usage",
    )
    parser.add_argument("config")
    parser.add_argument(
        "--workers", type=int, default=count_cpus(), help="processes that read files"
    )
    parser.add_argument("--json", metavar="FILE", help="also write statistics and findings here")
    parser.add_argument(
        "--contact-sheet",
        metavar="FILE.png",
        help="default: work_dirs/check_dataset/<method>/<config name>.png",
    )
    parser.add_argument("--no-contact-sheet", action="store_true")
    parser.add_argument("--samples", type=int, default=4, help="rows of the contact sheet")
    parser.add_argument("--strict", action="store_true", help="warnings fail, too")
    parser.add_argument("--cfg-options", nargs="+", action=CfgOptions, default={})
    args = parser.parse_args(arguments)
    for name in ("workers", "samples"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name} {getattr(args, name)} must be at least 1")
    if args.contact_sheet and Path(args.contact_sheet).suffix.lower() != ".png":
        raise ConfigError(f"--contact-sheet {args.contact_sheet} must end in .png")
    return args


def _sheet_path(args: argparse.Namespace) -> Path:
    if args.contact_sheet:
        return Path(args.contact_sheet)
    name = osp.relpath(default_work_dir(find_config(args.config)), "work_dirs")
    return Path("work_dirs", "check_dataset", f"{name}.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, print, write the files.

    Returns:
        0 if nothing was found that fails, else 1.

    Raises:
        ConfigError: An argument or the config is wrong.
    """
    args = parse_args(arguments)
    config = read_config(args.config, args.cfg_options)
    if not any(config.get(f"{role}_dataloader") for role in ("train", "val", "test")):
        raise ConfigError(f"config {args.config} has no train_, val_ or test_dataloader")
    init_default_scope(config.get("default_scope", "mmseg"))
    MMLogger.get_current_instance().setLevel("WARNING")

    with ProgressBar() as progress:
        result = check_config(config, args.workers, progress)
    sheet = _sheet_path(args)
    has_sheet = not args.no_contact_sheet and add_contact_sheet(
        config, result, sheet, args.config, args.samples
    )
    print(report.as_text(result))
    print(f"\n{args.config}: {result.files} files in {result.seconds:.1f} s, ", end="")
    end = "" if args.no_contact_sheet else "; no contact sheet, as no training batch can be made"
    print(report.summary(result.findings) + (f"; contact sheet {sheet}" if has_sheet else end))
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        values = report.as_json(args.config, result)
        Path(args.json).write_text(json.dumps(values, indent=2) + "\n")
    return int(is_failure(result.findings, args.strict))
