# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Reading the logs of runs, and what tables, curves and grids of pictures are drawn from them.

Decisions: numbers come from mmengine's own ``vis_data/scalars.json`` (one JSON object a line), so
any run of the stock tools can be reported; nothing here builds a network or reads a data set.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError

VOID = 255
VOID_COLOR = (224, 224, 192)
#: Of curves: dark enough on white, and told apart with any kind of colour blindness (Okabe and Ito).
LINE_COLORS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8a6d00",
)  # fmt: skip
LEGEND_LINE = 0.2  # inches


def find_scalars(work_dir: str | Path, ignore: Collection[Path] = ()) -> Path | None:
    """The newest ``<timestamp>/vis_data/scalars.json`` below a work dir, or None if there is none.

    Args:
        work_dir: Work dir of one or more runs.
        ignore: Files to leave out, for example those of earlier runs.
    """
    files = [path for path in Path(work_dir).glob("*/vis_data/scalars.json") if path not in ignore]
    # Run folders are named by time stamps: they sort by time, whatever a copy did to file dates.
    return max(files, key=lambda path: path.parts[-3], default=None)


def read_scalars(path: str | Path) -> list[dict]:
    """Read a scalars file; a last line that is still being written is left out.

    Raises:
        DataError: A line before the last one is no JSON object.
    """
    lines = [line for line in Path(path).read_text().splitlines() if line.strip()]
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("not an object")
        except ValueError as error:
            if number == len(lines):
                break
            raise DataError(f"{path} line {number} is not a JSON object: {error}") from error
        records.append(record)
    return records


def series(records: Sequence[Mapping], key: str) -> tuple[list[int], list[float]]:
    """Steps and values of one scalar, in the order of the log.

    Training records carry ``iter`` and ``step``, validation records only ``step``.
    """
    found = [(int(r.get("step", r.get("iter", 0))), float(r[key])) for r in records if key in r]
    return [step for step, _ in found], [value for _, value in found]


def last_value(records: Sequence[Mapping], key: str) -> float | None:
    """The last value of a scalar, or None if it was never logged."""
    values = series(records, key)[1]
    return values[-1] if values else None


def progress_line(name: str, records: Sequence[Mapping], max_iters: int | None = None) -> str:
    """One line about a running training: iteration, loss, last mIoU, time left."""
    steps, losses = series(records, "loss")
    if not steps:
        return f"{name}: starting"
    total = f"/{max_iters}" if max_iters else ""
    parts = [f"{name}: iter {steps[-1]}{total}", f"loss {losses[-1]:.3f}"]
    score = last_value(records, "mIoU")
    if score is not None:
        parts.append(f"mIoU {score:.2f}")
    seconds = last_value(records, "time")
    if max_iters and seconds is not None:
        parts.append(f"about {max(0, max_iters - steps[-1]) * seconds / 60:.1f} min left")
    return ", ".join(parts)


def result_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Text table: a row per class, a column per run, then the difference of the last two runs.

    Args:
        columns: Run name -> {row name -> percent}. Rows come in the order of the first run.
    """
    names = list(columns)
    rows = list(next(iter(columns.values())))
    head = ["", *names] + ([f"{names[-1]} - {names[-2]}"] if len(names) > 1 else [])
    body = []
    for row in rows:
        values = [columns[name].get(row, float("nan")) for name in names]
        cells = [row, *(f"{value:.2f}" for value in values)]
        if len(names) > 1:
            cells.append(f"{values[-1] - values[-2]:+.2f}")
        body.append(cells)
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    lines = []
    for cells in [head, *body]:
        first = cells[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        lines.append("  ".join([first, *rest]))
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def colorize(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Label map (H, W) to RGB (H, W, 3) uint8; 255 becomes VOC's light border colour.

    Raises:
        ValueError: A label has no colour.
    """
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    table[VOID] = VOID_COLOR
    wrong = np.unique(labels[(labels >= len(palette)) & (labels != VOID)])
    if wrong.size:
        raise ValueError(f"label {wrong[0]} has no colour, the palette has {len(palette)}")
    return table[labels]


def picture_grid(
    rows: Sequence[Sequence[np.ndarray | None]], titles: Sequence[str], cell: int = 200
) -> np.ndarray:
    """Put RGB pictures into a grid with titles above the columns.

    Args:
        rows: Pictures (H, W, 3) uint8 of any sizes; None leaves a cell empty. A picture is scaled
            to its cell, undistorted, by nearest neighbour so that colours stay.
        titles: One title per column.
        cell: Side of a cell in pixels; a row of wide pictures alone is as high as they are.

    Returns:
        RGB picture uint8.
    """
    import cv2

    gap, head = 6, 26
    for row in rows:
        if len(row) != len(titles):
            raise ValueError(f"a row has {len(row)} pictures, there are {len(titles)} titles")
    sizes = [[_size_in(cell, picture) for picture in row] for row in rows]
    heights = [max((size[0] for size in row if size), default=cell) for row in sizes]
    height = head + sum(heights) + (len(rows) + 1) * gap
    width = len(titles) * (cell + gap) + gap
    canvas = np.full((height, width, 3), 255, np.uint8)
    for column, title in enumerate(titles):
        place = (gap + column * (cell + gap), head - 8)
        cv2.putText(canvas, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            if picture is None:
                continue
            h, w = sizes[r][c]
            resized = cv2.resize(picture, (w, h), interpolation=cv2.INTER_NEAREST)
            top = head + gap + sum(heights[:r]) + r * gap + (heights[r] - h) // 2
            left = gap + c * (cell + gap) + (cell - w) // 2
            canvas[top : top + h, left : left + w] = resized
    return canvas


def _size_in(cell: int, picture: np.ndarray | None) -> tuple[int, int] | None:
    """Height and width of a picture whose longer side is that of a cell."""
    if picture is None:
        return None
    scale = cell / max(picture.shape[:2])
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return height, width


def encode_png(picture: np.ndarray) -> bytes:
    """RGB uint8 picture as PNG bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def plot_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    ylabel: str,
    smooth: int = 1,
    xlabel: str = "iteration",
    is_log: bool = False,
) -> str:
    """Line plot of several runs or classes as SVG, with a legend below it.

    Args:
        curves: Name -> (steps, values). One without a value is not shown, but keeps its colour.
        ylabel: Name of the values.
        smooth: Window of a running mean over the values; 1 for none.
        xlabel: Name of the steps.
        is_log: Whether the values have a logarithmic axis, where they are all above 0 and the largest
            is 30 times the smallest.
    """
    # The object interface: pyplot would choose a backend and keep global state.
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    longest = max(map(len, curves), default=0)
    across = max(1, min(len(curves), int(74 // (longest + 6))))
    legend = LEGEND_LINE * -(-len(curves) // across) if curves else 0
    width, plot, foot = 5.6, 2.7, 0.5
    height = plot + foot + legend
    # Placed by hand: a layout engine would draw everything twice.
    figure = Figure(figsize=(width, height))
    axes = FigureCanvasSVG(figure).figure.add_axes(
        (0.6 / width, (foot + legend) / height, 1 - 0.7 / width, (plot - 0.1) / height)
    )
    for number, (name, (steps, values)) in enumerate(curves.items()):
        if not len(steps):
            continue
        steps, values = running_mean(steps, values, smooth)
        axes.plot(
            steps, values, label=name, marker="o" if len(steps) < 30 else None, markersize=2.5,
            color=LINE_COLORS[number % len(LINE_COLORS)], linewidth=1.3,
            linestyle=("-", "--", ":", "-.")[number // len(LINE_COLORS) % 4],
        )  # fmt: skip
    drawn = np.concatenate([[], *(values for _, values in curves.values())])
    if is_log and drawn.size and np.nanmax(drawn) > 30 * np.nanmin(drawn) > 0:
        axes.set_yscale("log")
    axes.set_xlabel(xlabel, fontsize=9)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=8)
    axes.set_ylabel(ylabel, fontsize=9)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if curves:
        figure.legend(loc="lower center", ncols=across, fontsize=8, frameon=False)
    buffer = io.StringIO()
    # Without random names and a date equal curves are equal files.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "mmsemi"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def running_mean(
    steps: Sequence[float], values: Sequence[float], window: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the last ``window`` values, given from the ``window``-th step on."""
    steps, values = np.asarray(steps, float), np.asarray(values, float)
    if window <= 1 or len(values) < window:
        return steps, values
    return steps[window - 1 :], np.convolve(values, np.full(window, 1 / window), mode="valid")
