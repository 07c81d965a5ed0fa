# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Schedules that follow the metrics of the validations (``ReduceOnPlateauLR``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import EarlyStoppingHook

from ..errors import ConfigError


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


def check_monitored(user: str, monitor: str, metrics: Mapping[str, Any] | None) -> None:
    """Refuse to follow a metric that the validation does not give.

    Args:
        user: What follows it, for the message.
        monitor: Name of the metric.
        metrics: What the validation gives.

    Raises:
        ConfigError: The metric is missing.
    """
    if monitor not in (metrics or ()):
        raise ConfigError(
            f"{user} monitors '{monitor}', the validation gives "
            f"{', '.join(metrics or ()) or 'nothing'}: add the metric to val_evaluator, for "
            "val_loss dict(type='SegmentationLoss')"
        )
