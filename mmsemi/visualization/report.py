# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Reading the logs of finished runs, and a self-contained HTML report of them.

Decisions: numbers come from mmengine's own ``vis_data/scalars.json`` (one JSON object a line), so
any run of the stock tools can be reported; pictures are embedded, so that the report is one file;
nothing here builds a network or reads a data set.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError

VOID = 255
VOID_COLOR = (224, 224, 192)


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


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union in percent of each class; NaN if it neither occurs nor is predicted.

    Args:
        confusion: Pixel counts (classes, classes), rows are truth, columns predictions.
    """
    hit = np.diag(confusion).astype(float)
    union = confusion.sum(0) + confusion.sum(1) - hit
    return 100 * np.divide(hit, union, out=np.full_like(hit, np.nan), where=union > 0)


def count_confusion(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixel counts (classes, classes) of one picture, rows are truth; void pixels are left out."""
    valid = truth != VOID
    pairs = truth[valid].astype(np.int64) * num_classes + prediction[valid]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


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
        cell: Side of a cell in pixels.

    Returns:
        RGB picture uint8.
    """
    import cv2

    gap, head = 6, 26
    for row in rows:
        if len(row) != len(titles):
            raise ValueError(f"a row has {len(row)} pictures, there are {len(titles)} titles")
    height = head + len(rows) * (cell + gap) + gap
    width = len(titles) * (cell + gap) + gap
    canvas = np.full((height, width, 3), 255, np.uint8)
    for column, title in enumerate(titles):
        place = (gap + column * (cell + gap), head - 8)
        cv2.putText(canvas, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            if picture is None:
                continue
            scale = cell / max(picture.shape[:2])
            h, w = (max(1, round(side * scale)) for side in picture.shape[:2])
            resized = cv2.resize(picture, (w, h), interpolation=cv2.INTER_NEAREST)
            top = head + gap + r * (cell + gap) + (cell - h) // 2
            left = gap + c * (cell + gap) + (cell - w) // 2
            canvas[top : top + h, left : left + w] = resized
    return canvas


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
) -> bytes:
    """Line plot of several runs as PNG bytes.

    Args:
        curves: Run name -> (steps, values).
        ylabel: Name of the values.
        smooth: Window of a running mean over the values; 1 for none.
        xlabel: Name of the steps.
    """
    # The object interface: pyplot would choose a backend and keep global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), dpi=110, layout="constrained")
    axes = FigureCanvasAgg(figure).figure.add_subplot()
    for name, (steps, values) in curves.items():
        steps, values = running_mean(steps, values, smooth)
        axes.plot(steps, values, label=name, marker="o" if len(steps) < 30 else None, markersize=3)
    axes.set_xlabel(xlabel)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    if curves:
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def running_mean(
    steps: Sequence[float], values: Sequence[float], window: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the last ``window`` values, given from the ``window``-th step on."""
    steps, values = np.asarray(steps, float), np.asarray(values, float)
    if window <= 1 or len(values) < window:
        return steps, values
    return steps[window - 1 :], np.convolve(values, np.full(window, 1 / window), mode="valid")


def html_report(
    title: str,
    intro: str,
    columns: Mapping[str, Mapping[str, float]],
    pictures: Sequence[tuple[str, bytes]],
    commands: Sequence[str] = (),
) -> str:
    """One HTML page with a table, embedded PNG pictures and the commands that made it.

    Args:
        title: Title of the page.
        intro: A paragraph of plain text.
        columns: Table as in :func:`result_table`; the best value of a row is bold.
        pictures: (caption, PNG bytes) pairs.
        commands: Command lines to print.
    """
    names = list(columns)
    rows = list(next(iter(columns.values()))) if columns else []
    table = ["<tr><th></th>" + "".join(f"<th>{html.escape(name)}</th>" for name in names) + "</tr>"]
    for row in rows:
        values = [columns[name].get(row, float("nan")) for name in names]
        best = max((value for value in values if value == value), default=None)
        cells = []
        for value in values:
            text = f"{value:.2f}" if value == value else "-"
            cells.append(f"<td>{f'<b>{text}</b>' if value == best else text}</td>")
        table.append(f"<tr><th>{html.escape(row)}</th>{''.join(cells)}</tr>")
    figures = []
    for caption, data in pictures:
        source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
        text = html.escape(caption)
        figures.append(
            f'<figure><figcaption>{text}</figcaption><img alt="{text}" src="{source}"></figure>'
        )
    shell = "\n".join(html.escape(command) for command in commands)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse; margin: 1em 0 }}
th, td {{ padding: .2em .9em; border-bottom: 1px solid #ddd; text-align: right }}
th:first-child {{ text-align: left; font-weight: normal }}
tr:last-child {{ border-top: 2px solid #888 }}
figure {{ margin: 1.5em 0 }} figcaption {{ font-weight: bold }} img {{ max-width: 100% }}
pre {{ background: #f4f4f4; padding: .8em; overflow-x: auto }}
</style></head><body>
<h1>{html.escape(title)}</h1>
<p>{html.escape(intro)}</p>
<table>
{chr(10).join(table)}
</table>
{chr(10).join(figures)}
{f"<h2>Commands</h2><pre>{shell}</pre>" if commands else ""}
</body></html>
"""
