# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Keeps the IoU of each class, which mmseg's metric prints as a table and forgets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmseg.evaluation.metrics import IoUMetric
from mmseg.registry import HOOKS

from ...errors import ConfigError
from ...utils.files import write_beside

FILE = "class_iou.json"


@HOOKS.register_module()
class ClassIoUHook(Hook):
    """Write ``<work_dir>/class_iou.json`` at each validation: ``step``, ``mIoU``, and ``iou`` by class, in %.

    They are those of the network that predicts, from what the first ``IoUMetric`` has counted. A class
    that neither occurs nor is predicted is null.

    Raises:
        ConfigError: The validation has no ``IoUMetric``.
    """

    priority = "LOW"

    def __init__(self) -> None:
        self._iou: list[float] | None = None

    def before_train(self, runner) -> None:
        """Listen to the metric."""
        metrics = runner.val_loop.evaluator.metrics if runner.val_loop is not None else []
        metric = next((one for one in metrics if type(one) is IoUMetric), None)
        if metric is None:
            names = ", ".join(type(one).__name__ for one in metrics) or "no validation"
            raise ConfigError(
                f"val_evaluator ({names}) counts no IoU of each class, which the comparison is made of: set "
                "val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU'])"
            )
        compute = metric.compute_metrics

        def listen(results: list) -> dict:
            if self._iou is None:  # the network that predicts comes first
                self._iou = class_iou(results)
            return compute(results)

        metric.compute_metrics = listen

    def before_val(self, runner) -> None:
        """Forget the last validation."""
        self._iou = None

    def after_val_epoch(self, runner, metrics: dict[str, Any] | None = None) -> None:
        """Write what the metric has counted; only the main process has it."""
        if self._iou is None:
            return
        names = runner.val_loop.dataloader.dataset.metainfo["classes"]
        record = dict(
            step=runner.iter, mIoU=float(metrics["mIoU"]), iou=dict(zip(names, self._iou))
        )
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        write_beside(Path(runner.work_dir, FILE), lambda file: file.write(text.encode()))


def class_iou(results: Sequence[tuple[torch.Tensor, ...]]) -> list[float | None]:
    """IoU of each class in percent, None where it neither occurs nor is predicted.

    Args:
        results: For each image, (C,) pixels of intersection, union, prediction and truth.
    """
    intersect, union = (sum(parts) for parts in list(zip(*results))[:2])
    return [100 * float(i) / float(u) if u else None for i, u in zip(intersect, union)]
