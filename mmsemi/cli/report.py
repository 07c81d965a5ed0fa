# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi report``: ``report.html`` of runs that are there already."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..visualization.run_report import write_report


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Write WORK_DIR/report.html of finished or running trainings, from their files alone. "
        "Trainings do it themselves at each validation.",
        epilog="guide: docs/report.md; several runs on one page: mmsemi compare WORK_DIR ...",
    )
    parser.add_argument("work_dirs", nargs="+", metavar="WORK_DIR")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``mmsemi report``."""
    for work_dir in parse_args(arguments).work_dirs:
        print(write_report(work_dir))
    return 0
