# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Schedules that follow the metrics of the validations (``ReduceOnPlateauLR``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import EarlyStoppingHook


def plateau_schedulers(runner) -> list:
    """The schedulers of all optimisers that read the metrics of a validation.

    Outside of training there are none: those of the runner are still configs.
    """
    schedulers = runner.param_schedulers
    parts = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
    built = [one for part in parts if isinstance(part, list) for one in part]
    return [one for one in built if getattr(one, "need_val_args", False)]


def follows_validation(runner) -> bool:
    """Whether the course of the training depends on the metrics of its validations."""
    stops_early = any(isinstance(hook, EarlyStoppingHook) for hook in runner.hooks)
    return stops_early or bool(plateau_schedulers(runner))


def check_monitored(runner, metrics: Mapping[str, Any]) -> None:
    """Refuse a plateau scheduler whose metric the validation does not give.

    Raises:
        ValueError: The metric is missing.
    """
    for scheduler in plateau_schedulers(runner):
        if scheduler.monitor not in metrics:
            raise ValueError(
                f"param_scheduler: {type(scheduler).__name__} monitors '{scheduler.monitor}', the "
                f"validation gives {', '.join(metrics) or 'nothing'}: add the metric to "
                "val_evaluator, for val_loss dict(type='SegmentationLoss')"
            )
