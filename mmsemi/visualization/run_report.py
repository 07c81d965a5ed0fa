# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``report.html`` of one run, made from the files of its work dir alone."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.files import write_beside
from .page import (
    Block,
    Cell,
    Code,
    Figures,
    Fold,
    Legend,
    Notes,
    Page,
    Table,
    Text,
    embed,
    format_number,
    number_table,
    text_table,
)  # fmt: skip
from .palette import class_palette
from .report import last_value, plot_curves, series
from .run_files import RunFiles, read_run

PAGE = "report.html"
#: A larger confusion matrix is a picture.
MAX_TABLE_CLASSES = 25
MAX_PSEUDO_LABELS = 6
#: Logged of a step, and no statistic of the method.
_NO_STATISTICS = re.compile(
    r"loss|acc_seg|^(base_)?lr|time|memory|grad_norm|momentum|^iter$|^step$"
)

Curves = dict[str, tuple[list[int], list[float]]]


def write_report(work_dir: str | Path) -> Path:
    """Write ``report.html`` into a work dir, from what is there now.

    Raises:
        DataError: There is no run in it.
    """
    path = Path(work_dir) / PAGE
    content = run_page(read_run(work_dir)).render().encode()
    write_beside(path, lambda file: file.write(content))
    return path


def run_page(run: RunFiles) -> Page:
    """The report of a run."""
    info = run.info
    length = info.get("max_iters")
    about = [info.get("method"), info.get("data"), info.get("started")]
    page = Page(run_name(run), [str(line) for line in about if line], tiles(run))
    page.add("Warnings", findings_block(run))
    page.add("Curves", Figures(curve_figures(run)))
    page.add("Validation", score_table(run), *confusion_blocks(run.validation))
    page.add("Best and worst validation images", *example_blocks(run))
    page.add("Pseudo-labels over time", *pseudo_label_blocks(run))
    page.add("Settings", *setting_blocks(run))
    if length and last_step(run) < length:
        page.intro = [*page.intro, f"not finished: iteration {last_step(run)} of {length}"]
    return page


def run_name(run: RunFiles) -> str:
    """The last two parts of the work dir, which our commands name by method and config."""
    return "/".join(run.work_dir.absolute().parts[-2:])


def last_step(run: RunFiles) -> int:
    """The last logged iteration."""
    return max((int(record.get("step", 0)) for record in run.records), default=0)


# --- Numbers --------------------------------------------------------------------------------------


def validations(run: RunFiles) -> list[dict]:
    """The records that are not of a training step."""
    return [record for record in run.records if "iter" not in record]


def deployed_name(run: RunFiles) -> str:
    """The network behind the plain keys of the log: the one in ``model.predict_on``."""
    return str(run.validation.get("network") or info_network(run.info) or "network")


def info_network(info: Mapping[str, Any]) -> str:
    """The deployed network as ``run.json`` names it."""
    return str(info.get("deployed") if info.get("deployed") is not None else "")


def score_curves(run: RunFiles) -> Curves:
    """mIoU of each network over the validations, the deployed one first."""
    records = validations(run)
    keys = dict.fromkeys(key for record in records for key in record)
    found = {key: series(records, key) for key in keys if re.fullmatch(r"(.*/)?mIoU", key)}
    main = f"{deployed_name(run)} (deployed)" if len(found) > 1 else deployed_name(run)
    return {key.removesuffix("/mIoU") if "/" in key else main: found[key] for key in found}


def class_curves(run: RunFiles, prefix: str = "") -> Curves:
    """IoU of each class over the validations, of the deployed network or of one by its prefix."""
    start = f"{prefix}IoU."
    records = validations(run)
    keys = dict.fromkeys(key for r in records for key in r if key.startswith(start))
    return {key.removeprefix(start): series(records, key) for key in keys}


def loss_curves(run: RunFiles) -> Curves:
    """The loss and its parts over the training steps."""
    records = [record for record in run.records if "iter" in record]
    keys = dict.fromkeys(key for r in records for key in r if "loss" in key)
    parts = [key for key in keys if key != "loss"]
    # A part that is the whole says nothing more.
    names = ["loss", *(parts if len(parts) > 1 else [])]
    return {key: series(records, key) for key in names if key in keys}


def kept_curves(run: RunFiles) -> Curves:
    """Share of each class in the pixels of the students' views, and their sum, in percent."""
    start = "pseudo_label/"
    keys = dict.fromkeys(key for r in run.records for key in r if key.startswith(start))
    found = {}
    for key in sorted(keys, key=lambda key: key != f"{start}kept"):
        steps, values = series(run.records, key)
        found[key.removeprefix(start)] = (steps, [100 * value for value in values])
    return found


def statistic_curves(run: RunFiles) -> Curves:
    """What else the method logs of its steps: shares of pixels, agreement, thresholds."""
    records = [record for record in run.records if "iter" in record]
    keys = dict.fromkeys(key for r in records for key in r if not _NO_STATISTICS.search(key))
    return {key: series(records, key) for key in keys if not key.startswith("pseudo_label/")}


def tiles(run: RunFiles) -> list[tuple[str, str]]:
    """What is shown large."""
    found = []
    curves = score_curves(run)
    if curves:
        name, (steps, values) = next(iter(curves.items()))
        found.append((f"mIoU of {name}", f"{values[-1]:.2f}"))
        best = int(np.nanargmax(values)) if not np.isnan(values).all() else 0
        found.append((f"best mIoU, at iteration {steps[best]}", f"{values[best]:.2f}"))
    length = run.info.get("max_iters")
    found.append(("iterations", f"{last_step(run)}" + (f" of {length}" if length else "")))
    kept = kept_curves(run).get("kept")
    if kept:
        found.append(("of the unlabelled pixels kept, last", f"{kept[1][-1]:.0f} %"))
    seconds = last_value([r for r in run.records if "iter" in r], "time")
    if seconds is not None:
        found.append(("seconds per iteration", f"{seconds:.3g}"))
    return found


# --- Blocks ---------------------------------------------------------------------------------------


def findings_block(run: RunFiles) -> Notes | None:
    """The warnings of the run."""
    items = []
    for finding in run.findings:
        setting, guide = finding.get("setting"), finding.get("guide")
        tail = [f"{finding.get('text', '')}."]
        tail += [f"Setting: {setting}." if setting else "", f"See {guide}." if guide else ""]
        head = f"{finding.get('name', 'warning')}, iteration {finding.get('step', '?')}:"
        items.append((head, " ".join(part for part in tail if part)))
    return Notes(items) if items else None


def curve_figures(run: RunFiles) -> list[tuple[str, str]]:
    """(caption, picture) of every plot that has a value."""
    losses = loss_curves(run)
    points = max((len(steps) for steps, _ in losses.values()), default=0)
    smooth = max(1, points // 40)
    note = f", mean of {smooth} records" if smooth > 1 else ""
    plots = [
        ("mIoU on the validation images", score_curves(run), "mIoU (%)", {}),
        (f"Training loss{note}", losses, "loss", dict(smooth=smooth, is_log=True)),
        (f"IoU of each class, {deployed_name(run)}", class_curves(run), "IoU (%)", {}),
        ("Kept pseudo-labels", kept_curves(run), "% of the views' pixels", {}),
        (f"Other statistics of the steps{note}", statistic_curves(run), "", dict(smooth=smooth)),
    ]
    return [
        (caption, embed(plot_curves(curves, unit, **options)))
        for caption, curves, unit, options in plots
        if curves
    ]


def score_table(run: RunFiles) -> Table | None:
    """mIoU and IoU of each class of every network, at its last validation."""
    records = validations(run)
    columns: dict[str, dict[str, float]] = {}
    for name, (steps, values) in score_curves(run).items():
        prefix = "" if not columns else f"{name}/"
        late = steps[-1] != max(step for step, _ in zip(*series(records, "mIoU"))) if prefix else 0
        scores = {"mIoU": values[-1]}
        scores |= {key: v[-1] for key, (_, v) in class_curves(run, prefix).items()}
        columns[f"{name}, iteration {steps[-1]}" if late else name] = scores
    return number_table(columns, "IoU in percent at the last validation")


def confusion_blocks(validation: Mapping[str, Any]) -> list[Block]:
    """The confusion matrix in percent of each true class, and the largest mistakes."""
    if not validation:
        return []
    classes = validation["classes"]
    counts = np.array(validation["confusion"], dtype=float)
    total = counts.sum(1, keepdims=True)
    share = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    caption = (
        f"Confusion of {validation['network'] or 'the network'} at iteration {validation['step']}: "
        "percent of the pixels of each true class (row) by what was predicted."
    )
    blocks: list[Block] = []
    if len(classes) <= MAX_TABLE_CLASSES:
        rows = [
            [Cell(name), *(
                Cell(format_number(100 * v, ".1f"), shade=0.0 if math.isnan(v) else float(v) * 0.9)
                for v in row
            )]
            for name, row in zip(classes, share)
        ]  # fmt: skip
        blocks += [Text(caption), Table(["truth \\ predicted", *classes], rows)]
    else:
        blocks.append(Figures([(caption, embed(_matrix_picture(share)))], across=False))
    wrong = np.where(np.eye(len(classes), dtype=bool), 0, counts)
    if len(classes) > 2 and wrong.sum() > 0:
        worst = np.argsort(-wrong, axis=None, kind="stable")[:8]
        pairs = [divmod(int(i), len(classes)) for i in worst if wrong.flat[i] > 0]
        rows = [
            (f"{classes[t]} taken for {classes[p]}", f"{wrong[t, p] / counts.sum():.2%} of all pixels, "
             f"{share[t, p]:.1%} of the class")
            for t, p in pairs
        ]  # fmt: skip
        blocks.append(Fold("The largest mistakes", [text_table(rows)]))
    return blocks


def _matrix_picture(share: np.ndarray) -> bytes:
    """A confusion matrix of many classes as PNG; rows are truth."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), dpi=110, layout="tight")
    axes = FigureCanvasAgg(figure).figure.add_subplot()
    shown = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    axes.set_xlabel("predicted class, by number")
    axes.set_ylabel("true class, by number")
    figure.colorbar(shown, label="% of the true class")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def example_blocks(run: RunFiles) -> list[Block]:
    """The best and the worst images of the last validation."""
    validation = run.validation
    examples = validation.get("examples") or []
    items: dict[str, list[tuple[str, str]]] = {"worst": [], "best": []}
    for example in examples:
        path = run.examples / example["file"]
        if path.is_file():
            caption = f"{Path(example['path']).name or example['file']}: mIoU {example['mIoU']:.1f}"
            items[example["kind"]].append((caption, embed(path.read_bytes())))
    if not any(items.values()):
        return []
    text = (
        "Image, truth and prediction. An image's mIoU is the mean over the classes that it has or "
        "is predicted to have."
    )
    blocks: list[Block] = [Text(text), _legend(validation["classes"], validation.get("palette"))]
    for kind, found in items.items():
        if found:
            blocks += [
                Text(f"The {kind} {len(found)} of {len(validation['images'])}:"),
                Figures(found),
            ]
    return blocks


def _legend(classes: Sequence[str], palette: Sequence[Sequence[int]] | None) -> Legend:
    colours = palette or class_palette(classes)
    return Legend([(name, "#" + bytes(c).hex()) for name, c in zip(classes, colours)])


def pseudo_label_blocks(run: RunFiles) -> list[Block]:
    """Pictures of the pseudo-labels, at most a few, from the first to the last."""
    found = run.pseudo_labels
    if not found:
        return []
    chosen = np.linspace(0, len(found) - 1, min(len(found), MAX_PSEUDO_LABELS)).round()
    items = [
        (f"iteration {step}", embed(_as_jpeg(path)))
        for step, path in (found[int(number)] for number in chosen)
    ]
    return [Figures(items, across=False)]


def _as_jpeg(path: Path) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(path).convert("RGB").save(buffer, "JPEG", quality=88, subsampling=0)
    return buffer.getvalue()


def setting_blocks(run: RunFiles) -> list[Block | None]:
    """Command, seeds, splits, environment and the resolved config."""
    info = run.info
    blocks: list[Block | None] = []
    if info.get("command"):
        blocks.append(Code(info["command"], wrap=True))
    rows = [
        (name.replace("_", " "), value if isinstance(value, str) else json.dumps(value))
        for name in ("networks", "deployed", "data", "validation_images", "seed", "deterministic",
                     "processes", "load_from")
        if (value := info.get(name)) is not None
    ]  # fmt: skip
    rows += [(f"split: {key}", value) for key, value in (info.get("split") or {}).items()]
    if info and len(run.starts) > 1:
        rows.append(("resumed at iteration", ", ".join(map(str, run.starts[1:]))))
    blocks.append(text_table(rows))
    environment = text_table((info.get("environment") or {}).items())
    if environment:
        blocks.append(Fold("Environment", [environment]))
    if run.config_text:
        blocks.append(Fold("Config, with all that it inherits", [Code(run.config_text)]))
    return blocks
