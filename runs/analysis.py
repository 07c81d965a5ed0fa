# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a method's own analysis gave: its pseudo-labels near the end of a training, and the warnings of the diagnosis.

Both are what any run logs (``docs/diagnosis.md``); no mask of an unlabelled image is read.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmsemi.utils.markdown import format_table

from .results import read_all_results
from .rows import PROTOCOLS
from .table import todays_runs

SHARE = "pseudo_label/"
#: Part of a training, at its end, over which shares are averaged.
LATE = 1 / 4
#: The classes that a finding names, each in quotes.
_NAMED = re.compile(r"'([^']+)'")


def own_analysis(
    records: Iterable[Mapping], findings: Iterable[Mapping], length: int
) -> dict[str, Any]:
    """What a result keeps of it.

    Args:
        records: What the training logged.
        findings: Its warnings, in their order.
        length: Optimiser steps.

    Returns:
        ``pseudo_labels``: mean share of each class in all pixels of unlabelled images, and of their sum, ``kept``;
        empty for a method without pseudo-labels. ``findings``: the newest text of each warning by its name.
    """
    late = [r for r in records if f"{SHARE}kept" in r and r["step"] > (1 - LATE) * length]
    names = {key for record in late for key in record if key.startswith(SHARE)}
    shares = {
        name.removeprefix(SHARE): round(statistics.fmean(r.get(name, 0.0) for r in late), 5)
        for name in sorted(names)
    }
    return dict(pseudo_labels=shares, findings={one["name"]: one["text"] for one in findings})


def analysis_table(data: str, folder: Path | None = None) -> str:
    """The analyses of a data set's methods, of the first seed that has one.

    Args:
        data: Its name.
        folder: Of the results, by default docs/results.
    """
    protocol, every = PROTOCOLS[data], read_all_results(data, folder)
    lines = []
    for row in protocol.rows:
        if row.kind != "method" or row.table != "continued":
            continue
        runs = todays_runs(protocol, every, row)[1].values()
        found = next((run["analysis"] for run in runs if "analysis" in run), None)
        if found is not None:
            lines.append([row.title, *_shares(found["pseudo_labels"], protocol.rare), _said(found)])
    head = ["method", "labelled pixels", *(f"of these {name}" for name in protocol.rare)]
    return format_table([*head, "warnings"], lines)


def _shares(shares: Mapping[str, float], classes: Sequence[str]) -> list[str]:
    """Percent of all pixels that have a pseudo-label, and of these the percent of each class."""
    if not shares:
        return [""] * (1 + len(classes))
    kept = shares["kept"] or 1.0
    return [f"{shares['kept']:.1%}", *(f"{shares.get(name, 0.0) / kept:.2%}" for name in classes)]


def _said(analysis: Mapping[str, Any]) -> str:
    """The warnings by name, with the classes that they are about."""
    texts = []
    for name, text in analysis["findings"].items():
        classes = ", ".join(_NAMED.findall(text)) if "class" in name else ""
        texts.append(f"`{name}`" + (f": {classes}" if classes else ""))
    return "; ".join(texts) or "none"
