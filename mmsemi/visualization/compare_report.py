# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One page and one table of several runs, made from the files of their work dirs alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from ..errors import ConfigError
from ..utils.config_keys import READABLE, nodes
from ..utils.markdown import format_table
from .page import Block, Cell, Figures, Fold, Notes, Page, Table, Text, embed, number_table
from .report import plot_curves, series
from .run_files import RunFiles, read_run
from .run_report import (
    class_curves,
    findings_block,
    kept_curves,
    last_step,
    loss_curves,
    validations,
)

MAX_SETTINGS = 150
#: Settings that differ between any two runs and explain nothing.
_PLACES = ("work_dir", "resume", "launcher")


@dataclass
class Compared:
    """A run among others.

    Attributes:
        name: What tells it from the others.
        run: Its files.
        steps: Iterations of its validations.
        values: The compared metric at each.
    """

    name: str
    run: RunFiles
    steps: list[int]
    values: list[float]

    @property
    def last(self) -> float:
        """The metric at the last validation, NaN if there was none."""
        return self.values[-1] if self.values else float("nan")


def read_compared(
    work_dirs: Sequence[str | Path],
    metric: str,
    names: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
) -> list[Compared]:
    """Read the runs of several work dirs.

    Args:
        work_dirs: The first one is what the others are compared with.
        metric: Of their validations.
        names: Of the runs; by default the part of their paths in which they differ.
        keys: Of the metric in each run's log, where they differ.

    Raises:
        DataError: A folder is not there, or holds no run.
        ConfigError: A folder is named twice, or no run has the metric.
    """
    runs = [read_run(folder) for folder in work_dirs]
    names = names or short_names(work_dirs)
    found = [
        Compared(name, run, *series(validations(run), key))
        for name, run, key in zip(names, runs, keys or [metric] * len(runs))
    ]
    if not any(one.values for one in found):
        known = sorted({key for run in runs for r in validations(run) for key in r} - {"step"})
        raise ConfigError(
            f"no run has been validated with the metric {metric} (known: {', '.join(known) or 'none'})"
            ": give --metric"
        )
    return found


def short_names(work_dirs: Sequence[str | Path]) -> list[str]:
    """The paths below their common folder, of a single one its last two parts.

    Raises:
        ConfigError: Two are the same folder.
    """
    paths = [Path(folder).resolve() for folder in work_dirs]
    twice = next((one for one in paths if paths.count(one) > 1), None)
    if twice is not None:
        raise ConfigError(f"'{twice}' is given twice")
    if len(paths) == 1:
        return ["/".join(paths[0].parts[-2:])]
    common = os.path.commonpath(paths)
    return [
        path.relative_to(common).as_posix() if str(path) != common else path.name for path in paths
    ]


# --- The table ------------------------------------------------------------------------------------


def compared_table(compared: Sequence[Compared], metric: str) -> str:
    """A Markdown table: a row a run, its last metric and IoU of each class, gain over the first."""
    classes = list(dict.fromkeys(name for one in compared for name in class_curves(one.run)))
    rows = []
    for one in compared:
        iou = {name: values[-1] for name, (_, values) in class_curves(one.run).items()}
        gain = "" if one is compared[0] else _signed(one.last - compared[0].last)
        cells = [f"{iou[name]:.2f}" if name in iou else "" for name in classes]
        rows.append([one.name, last_step(one.run), f"{one.last:.2f}", gain, *cells])
    return format_table(["run", "iterations", metric, "gain", *classes], rows)


def _signed(value: float) -> str:
    return "" if np.isnan(value) else f"{value:+.2f}"


# --- The page -------------------------------------------------------------------------------------


def compare_page(compared: Sequence[Compared], metric: str) -> Page:
    """The page of several runs."""
    first = compared[0]
    tiles = [
        (f"{metric} of {one.name}" + ("" if one is first else f", {_signed(one.last - first.last)}"),
         "-" if np.isnan(one.last) else f"{one.last:.2f}")
        for one in compared[:6]
    ]  # fmt: skip
    intro = f"{len(compared)} runs; values are those of the last validation, in percent."
    page = Page("Comparison of runs", [intro], tiles)
    page.add("Runs", runs_table(compared, metric), *class_table(compared))
    page.add("Curves", *curve_blocks(compared, metric))
    notes = [
        (f"{one.name}, {head}", text)
        for one in compared
        for head, text in getattr(findings_block(one.run), "items", ())
    ]
    page.add("Warnings", Notes(notes) if notes else None)
    page.add("Settings that differ", *difference_blocks(compared))
    return page


def runs_table(compared: Sequence[Compared], metric: str) -> Table:
    """A row a run: method, length, last and best value, seed, labels, start."""
    first, rows = compared[0], []
    best = max((one.last for one in compared if one.values), default=None)
    for one in compared:
        info = one.run.info
        top = int(np.nanargmax(one.values)) if one.values else None
        length = info.get("max_iters")
        split = (info.get("split") or {}).get("labeled_sha256", "")
        rows.append([
            Cell(one.name),
            Cell("-" if not one.values else f"{one.last:.2f}", one.last == best),
            Cell("" if one is first else _signed(one.last - first.last)),
            Cell("-" if top is None else f"{one.values[top]:.2f} at {one.steps[top]}"),
            Cell(f"{last_step(one.run)}" + (f" of {length}" if length else "")),
            Cell(str(info.get("method", ""))),
            Cell(str(info.get("seed", ""))),
            Cell(split[:12]),
        ])  # fmt: skip
    head = ["run", metric, "gain", "best", "iterations", "method", "seed", "labels (sha256)"]
    return Table(head, rows)


def class_table(compared: Sequence[Compared]) -> list[Block]:
    """IoU of each class side by side."""
    columns = {
        one.name: {name: values[-1] for name, (_, values) in class_curves(one.run).items()}
        for one in compared
    }
    columns = {name: scores for name, scores in columns.items() if scores}
    table = number_table(columns, "IoU of each class", with_gain=len(columns) == 2)
    return [table] if table else []


def curve_blocks(compared: Sequence[Compared], metric: str) -> list[Block]:
    """The metric, the loss and the kept share of all runs, and each class in a fold."""

    def plot(curves: Mapping[str, tuple], unit: str, **options: Any) -> str:
        return embed(plot_curves(curves, unit, **options))

    losses = {one.name: loss_curves(one.run).get("loss", ([], [])) for one in compared}
    smooth = max(1, max(len(steps) for steps, _ in losses.values()) // 40)
    kept = {one.name: kept_curves(one.run).get("kept", ([], [])) for one in compared}
    note = f", mean of {smooth} records" if smooth > 1 else ""
    plots = [
        (metric, {one.name: (one.steps, one.values) for one in compared}, "%", {}),
        (f"Training loss{note}", losses, "loss", dict(smooth=smooth, is_log=True)),
        ("Kept pseudo-labels", kept, "% of the views' pixels", {}),
    ]
    figures = [
        (caption, plot(curves, unit, **options))
        for caption, curves, unit, options in plots
        if any(len(steps) for steps, _ in curves.values())
    ]
    text = "The losses of different methods are sums of different terms."
    blocks: list[Block] = [Figures(figures), Text(text)]
    classes = dict.fromkeys(name for one in compared for name in class_curves(one.run))
    by_class = [
        (name, plot({c.name: class_curves(c.run).get(name, ([], [])) for c in compared}, "IoU (%)"))
        for name in list(classes)[:24]
    ]
    if by_class:
        blocks.append(Fold("IoU of each class over the iterations", [Figures(by_class)]))
    return blocks


def difference_blocks(compared: Sequence[Compared]) -> list[Block]:
    """The settings in which the configs differ."""
    known = [one for one in compared if one.run.config_text]
    if len(known) < 2:
        return [Text("Of fewer than two runs the config was kept (vis_data/config.py).")]
    rows = differences([(one.name, settings_of(one.run)) for one in known])
    if not rows:
        return [Text("None: seeds and settings are the same.")]
    body = [[Cell(key), *(Cell(value, is_text=True) for value in values)] for key, values in rows]
    table = Table(["setting", *(one.name for one in known)], body[:MAX_SETTINGS])
    more = len(body) - MAX_SETTINGS
    return [table] if more <= 0 else [table, Text(f"... and {more} more.")]


def settings_of(run: RunFiles) -> dict[str, Any]:
    """The values of a run's config by dotted key, without variables and places."""
    config = Config.fromstring(run.config_text, ".py")
    read = {key: config[key] for key in config if key in READABLE and key not in _PLACES}
    return {where: value for where, value in nodes(read, "") if _is_leaf(value)}


def _is_leaf(value: Any) -> bool:
    return not isinstance(value, (Mapping, list, tuple)) or not value


def differences(
    settings: Sequence[tuple[str, Mapping[str, Any]]],
) -> list[tuple[str, list[str]]]:
    """The keys whose values differ, each with every run's value as text; '' where it has none.

    Args:
        settings: Name and settings of each run.
    """
    keys = dict.fromkeys(key for _, values in settings for key in values)
    rows = []
    for key in keys:
        texts = [
            json.dumps(values[key], default=str) if key in values else "" for _, values in settings
        ]
        if len(set(texts)) > 1:
            rows.append((key, texts))
    return rows
