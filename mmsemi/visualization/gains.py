# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Where one network is better than another: bars by class, and images chosen by rule."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np

from .report import LINE_COLORS


def at_shares(gains: Sequence[float], shares: Sequence[float]) -> list[int]:
    """Indices of the images at given places in the order of their gains.

    Args:
        gains: One of each image; NaN where there is none to speak of, such an image is left out.
        shares: 0 is the smallest gain, 0.5 the median, 1 the largest.

    Returns:
        One index for each share, none twice.
    """
    order = [int(i) for i in np.argsort(gains, kind="stable") if not np.isnan(gains[i])]
    places = [round(share * (len(order) - 1)) for share in shares] if order else []
    return [order[place] for place in dict.fromkeys(places)]


def plot_bars(columns: Mapping[str, Mapping[str, float]], ylabel: str) -> str:
    """Grouped bars as SVG, a group for each class and a bar in it for each network.

    Args:
        columns: Name of the network -> name of the class -> value; a missing one or NaN has no bar.
        ylabel: Name of the values.
    """
    # The object interface: pyplot would choose a backend and keep global state.
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys(name for column in columns.values() for name in column))
    places, width = np.arange(len(groups)), 0.8 / max(1, len(columns))
    figure = Figure(figsize=(max(5.6, 0.75 * len(groups)), 3.2), layout="constrained")
    axes = FigureCanvasSVG(figure).figure.add_subplot()
    for number, (name, column) in enumerate(columns.items()):
        shift = (number - (len(columns) - 1) / 2) * width
        values = [column.get(group, np.nan) for group in groups]
        color = LINE_COLORS[number % len(LINE_COLORS)]
        bars = axes.bar(places + shift, values, width, label=name, color=color)
        labels = ["" if np.isnan(value) else f"{value:.0f}" for value in values]
        axes.bar_label(bars, labels, fontsize=7, padding=1)
    is_long = max(map(len, groups), default=0) > 10  # a group is as wide as that many letters
    side = dict(rotation=30, ha="right", rotation_mode="anchor") if is_long else {}
    axes.set_xticks(places, groups, fontsize=8, **side)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_ylabel(ylabel, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    buffer = io.StringIO()
    # Without random names and a date equal bars are equal files.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "mmsemi"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
