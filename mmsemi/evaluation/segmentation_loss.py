# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The validation loss, for schedules that follow it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from torch.nn import functional as F

from ..errors import ConfigError, DataError
from .predictions import class_scores, label_map


@METRICS.register_module()
class SegmentationLoss(BaseMetric):
    """Mean cross-entropy over all labelled pixels of the validation set, as ``val_loss``.

    Computed at the original size of the images, from the ``seg_logits`` of any segmentor whose head
    ends in a softmax, in float32. ``ReduceOnPlateauLR(monitor='val_loss')`` and
    ``ResumableEarlyStoppingHook(monitor='val_loss')`` read it.

    Args:
        ignore_index: Label of pixels that do not count.
        collect_device: Where results of several processes meet, 'cpu' or 'gpu'.
        prefix: Prefix of the key.

    Raises:
        UserError: A label is no class, label and prediction differ in size, or no pixel of the set
            has a label.
    """

    def __init__(
        self, ignore_index: int = 255, collect_device: str = "cpu", prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignore_index = ignore_index

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Sum the losses of a batch."""
        for sample in data_samples:
            classes, path = self.dataset_meta["classes"], sample.get("img_path", "?")
            logits_CHW = class_scores(sample, classes, "SegmentationLoss").float()
            labels_HW = label_map(sample, "gt_sem_seg").to(logits_CHW.device).long()
            if labels_HW.shape != logits_CHW.shape[1:]:
                raise ConfigError(
                    f"the mask of '{path}' is {tuple(labels_HW.shape)} pixels high and wide, its "
                    f"prediction {tuple(logits_CHW.shape[1:])}: load masks at the original size "
                    "(LoadAnnotations after Resize)"
                )
            valid = labels_HW != self.ignore_index
            wrong = labels_HW[valid & ((labels_HW < 0) | (labels_HW >= len(classes)))]
            if len(wrong):
                raise DataError(
                    f"the mask of '{path}' has the value {int(wrong[0])}, the data set has "
                    f"{len(classes)} classes (ignore_index is {self.ignore_index})"
                )
            losses = F.cross_entropy(
                logits_CHW[None], labels_HW[None], ignore_index=self.ignore_index, reduction="none"
            )
            self.results.append((losses.sum(dtype=torch.float64).item(), int(valid.sum())))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The mean over all pixels, not of the images' means."""
        total, count = (sum(part) for part in zip(*results))
        if count == 0:
            raise DataError("no pixel of the validation set has a label, so there is no val_loss")
        return {"val_loss": total / count}
