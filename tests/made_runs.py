# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Work dirs as trainings leave them, made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CONFIG = (
    "train_cfg = dict(max_iters={length})\nmodel = dict(type='{method}', threshold={threshold})\n"
)


def write_folder(
    work_dir: Path,
    stamp: str,
    records: list[dict],
    info: dict[str, Any] | None = None,
    validation: dict[str, Any] | None = None,
    findings: list[dict] = (),
    config: str = "",
) -> Path:
    """One ``<timestamp>/vis_data``; returns it."""
    folder = work_dir / stamp / "vis_data"
    folder.mkdir(parents=True)
    (folder / "scalars.json").write_text("".join(json.dumps(one) + "\n" for one in records))
    for name, content in (("run.json", info), ("validation.json", validation)):
        if content is not None:
            (folder / name).write_text(json.dumps(content))
    if findings:
        (folder / "findings.jsonl").write_text("".join(json.dumps(one) + "\n" for one in findings))
    if config:
        (folder / "config.py").write_text(config)
    return folder


def train_records(first: int, last: int, loss: float) -> list[dict]:
    """A record each ten iterations."""
    return [
        dict(lr=0.1, loss=loss, **{"sup.loss_ce": loss / 2, "unsup.loss": loss / 2,
             "unsup.mask_ratio": 0.5}, time=0.25, iter=step, step=step)
        for step in range(first, last + 1, 10)
    ]  # fmt: skip


def val_record(step: int, miou: float, cat: float) -> dict:
    """A validation of a teacher and a student."""
    return {
        "aAcc": 90.0, "mIoU": miou, "IoU.background": 2 * miou - cat, "IoU.cat": cat,
        "student/mIoU": miou - 1, "student/IoU.background": miou, "student/IoU.cat": miou - 2, "step": step,
    }  # fmt: skip


def finished_run(work_dir: Path, miou: float = 60.0, **changes: Any) -> Path:
    """A run of 40 iterations with all that there may be; returns its ``vis_data``."""
    records = [
        *train_records(10, 20, 2.0),
        val_record(20, miou - 10, 30.0),
        {"pseudo_label/background": 0.4, "pseudo_label/cat": 0.1, "pseudo_label/kept": 0.5, "step": 20},
        *train_records(30, 40, 1.0),
        {"pseudo_label/background": 0.5, "pseudo_label/cat": 0.25, "pseudo_label/kept": 0.75, "step": 40},
        val_record(40, miou, 50.0),
    ]  # fmt: skip
    info = dict(
        start_iter=0, max_iters=40, started="2026-01-01 00:00", command="mmsemi train <my>.py",
        method="FixMatch", networks="student 1 M", deployed="teacher", data="4 labeled, 9 unlabeled images",
        split=dict(name="all", labeled=4, labeled_sha256="abc123"), validation_images=3, seed=7,
        deterministic=False, processes=1, load_from=None, environment=dict(torch="2.11"),
    )  # fmt: skip
    info.update(changes.pop("info", {}))
    images = [
        dict(path=f"{name}.png", mIoU=value) for name, value in (("a", 20), ("b", 90), ("c", None))
    ]
    validation = dict(
        step=40, network="teacher", classes=["background", "cat"], palette=[[0, 0, 0], [9, 8, 7]],
        confusion=[[30, 10], [5, 15]], images=images,
        examples=[dict(kind="best", file="best_1.jpg", path="b.png", mIoU=90.0),
                  dict(kind="worst", file="worst_1.jpg", path="a.png", mIoU=20.0)],
    )  # fmt: skip
    config = CONFIG.format(length=40, method="FixMatch", threshold=changes.pop("threshold", 0.95))
    folder = write_folder(
        work_dir, "20260101_000000", records, info, validation, config=config, **changes
    )
    pictures = [("examples", "best_1.jpg"), ("examples", "worst_1.jpg"), ("pseudo_labels", "iter_20.png"),
                ("pseudo_labels", "iter_40.png")]  # fmt: skip
    for number, (place, name) in enumerate(pictures):
        (folder / place).mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 50 * number, np.uint8)).save(folder / place / name)
    return folder
