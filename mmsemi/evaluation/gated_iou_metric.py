# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""mIoU of a segmentation fused with image-level scores."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from ..utils import check_keys
from .image_level_gate import ImageLevelGate


def iou_settings(settings: dict[str, Any], where: str) -> dict[str, Any]:
    """Arguments of mmseg's ``IoUMetric``, which itself swallows unknown ones without a word."""
    parameters = inspect.signature(IoUMetric).parameters.values()
    known = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
    return check_keys(settings, known, where)


@METRICS.register_module()
class GatedIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric`` of predictions behind an :class:`ImageLevelGate`.

    It works with every segmentor that has ``seg_logits``, and beside a plain ``IoUMetric``, which
    goes on seeing the ungated predictions::

        test_evaluator = [
            dict(type='IoUMetric', iou_metrics=['mIoU']),
            dict(type='GatedIoUMetric', gate=dict(scores='scores.npz', threshold=0.2)),
        ]

    Args:
        gate: Arguments of :class:`ImageLevelGate`.
        **settings: Arguments of ``IoUMetric``.

    Raises:
        DataError: There is no score table.
        ConfigError: An unknown argument, or a wrong value of one.
    """

    default_prefix = "fused"

    def __init__(self, gate: dict, **settings: Any) -> None:
        super().__init__(**iou_settings(settings, "GatedIoUMetric"))
        self.gate = ImageLevelGate.build(gate)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Gate a batch of predictions and count them."""
        super().process(data_batch, self.gate.apply(data_samples, self.dataset_meta["classes"]))
