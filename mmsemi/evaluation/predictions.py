# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What our metrics take from a predicted sample, with the checks that keep it meaningful."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import ConfigError


def class_scores(sample: Mapping, classes: Sequence[str], user: str) -> Tensor:
    """The (C, H, W) ``seg_logits`` that a sample's prediction was made of.

    Args:
        sample: A predicted sample as metrics get it.
        classes: Class names of the data set.
        user: Who asks, for the messages.

    Raises:
        ConfigError: The model predicts with one channel, with another number of classes, or its
            prediction is not the arg max of its ``seg_logits`` (mmseg's test-time augmentation keeps
            those of the last view only).
    """
    path = sample.get("img_path", "?")
    if "seg_logits" not in sample:
        raise ConfigError(f"{user} needs seg_logits, the prediction of '{path}' has none")
    logits_CHW = sample["seg_logits"]["data"]
    if len(logits_CHW) == 1:
        raise ConfigError(
            f"{user} compares classes, the model has one output channel (a sigmoid): set "
            f"decode_head.out_channels={len(classes)}"
        )
    if len(logits_CHW) != len(classes):
        raise ConfigError(
            f"{user}: the model has {len(logits_CHW)} classes, the data set {len(classes)} "
            f"({', '.join(classes[:4])}, ...): set decode_head.num_classes={len(classes)}"
        )
    labels_HW = label_map(sample, "pred_sem_seg")
    if not torch.equal(logits_CHW.argmax(0), labels_HW.long()):
        raise ConfigError(
            f"{user}: the prediction of '{path}' is not the arg max of its seg_logits, as with "
            "test-time augmentation: run tools/test.py without --tta"
        )
    return logits_CHW


def label_map(sample: Mapping, key: str) -> Tensor:
    """The (H, W) labels under ``key`` ('pred_sem_seg' or 'gt_sem_seg'), stored with or without 1."""
    data = sample[key]["data"]
    return data.reshape(data.shape[-2:])
