# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The tables and the plot of a self-training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.markdown import format_table


def rounds_table(rows: Sequence[dict[str, Any]], metric: str, out: str | Path = "") -> str:
    """Markdown: a row for each training, then the admitted share of each class by round.

    Args:
        rows: Of :meth:`~mmsemi.self_training.rounds.SelfTraining.run`.
        metric: Name of the score.
        out: Folder that paths are shortened by.
    """
    lines = []
    for row in rows:
        score = "" if row["score"] is None else f"{row['score']:.2f}"
        shares = ", ".join(f"{100 * share:.1f}" for share in row["admitted"])
        kept = row["checkpoint"].removeprefix(f"{out}/")
        lines.append([row["stage"], score, shares, kept, row["note"]])
    head = ["stage", metric, "admitted pixels, %", "kept checkpoint", "note"]
    parts = [format_table(head, lines)]
    chosen_by = dict.fromkeys(row["chosen_by"] for row in rows)
    parts.append(f"The checkpoint of a training: {'; '.join(chosen_by)}.\n")
    labelled = [row for row in rows if row["classes"]]
    if labelled:
        names = dict.fromkeys(name for row in labelled for name in row["classes"])
        shares = [[_percent(row["classes"].get(name)) for row in labelled] for name in names]
        head = ["admitted of the class, %", *(row["stage"] for row in labelled)]
        parts.append(format_table(head, [[name, *row] for name, row in zip(names, shares)]))
    return "\n".join(parts)


def _percent(share: float | None) -> str:
    return "never predicted" if share is None else f"{100 * share:.1f}"


def plot_rounds(rows: Sequence[dict[str, Any]], metric: str) -> bytes:
    """PNG: the metric of each model by round, and below it the admitted share of the pixels."""
    # The object interface: pyplot would choose a backend and keep global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves: dict[str, list[tuple[str, float | None, float | None]]] = {}
    for row in rows:
        name, model = _stage(row["stage"])
        if name == "test":  # of the last round's checkpoint
            continue
        admitted = 100 * float(np.mean(row["admitted"])) if row["admitted"] else None
        curves.setdefault(model, []).append((name, row["score"], admitted))
    figure = Figure(figsize=(6.4, 5.2), dpi=110, layout="constrained")
    upper, lower = FigureCanvasAgg(figure).figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    # The second model's values stand below its points: two curves may run on each other.
    for (model, points), above in zip(curves.items(), (6, -14)):
        # Text on the axis, so that a round which was skipped leaves no gap.
        names, scores, admitted = zip(*points)
        scores = [np.nan if score is None else score for score in scores]
        (line,) = upper.plot(names, scores, marker="o", label=f"model {model}")
        for name, score in zip(names, scores):
            upper.annotate(
                "" if np.isnan(score) else f"{score:.1f}",
                (name, score),
                (0, above),
                textcoords="offset points",
                ha="center",
                color=line.get_color(),
            )
        lower.plot(names, [np.nan if a is None else a for a in admitted], marker="o")
    upper.margins(y=0.2)
    upper.set_ylabel(f"{metric}, %")
    lower.set_ylabel("admitted pixels, %")
    lower.set_ylim(0, 105)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    if len(curves) > 1:
        upper.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _stage(name: str) -> tuple[str, str]:
    """What is on the axis, and the model: 'round 2' and 'a' of 'round_2_a', 'baseline' and '' of that."""
    model = name[-1] if name[-2:] in ("_a", "_b") else ""
    return name.removesuffix(f"_{model}").replace("_", " "), model
