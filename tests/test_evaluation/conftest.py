# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Predicted samples by hand, in the form in which an evaluator hands them to its metrics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from mmengine.logging import MessageHub
from torch import Tensor

CLASSES = ("background", "cat", "dog")
PALETTE = [[0, 0, 0], [128, 0, 0], [0, 128, 0]]


@pytest.fixture(autouse=True)
def message_hub() -> MessageHub:
    """A hub of its own for each test, without a checkpoint."""
    before = set(MessageHub._instance_dict)
    hub = MessageHub.get_instance("test_evaluation")
    yield hub
    for name in set(MessageHub._instance_dict) - before:
        del MessageHub._instance_dict[name]


@pytest.fixture
def make_sample() -> Callable[..., dict]:
    def make(logits_CHW: Tensor, labels_HW: Tensor | None = None, path: str = "a.png") -> dict:
        sample = dict(
            img_path=path,
            seg_logits=dict(data=logits_CHW),
            pred_sem_seg=dict(data=logits_CHW.argmax(0, keepdim=True)),
        )
        if labels_HW is not None:
            sample["gt_sem_seg"] = dict(data=labels_HW[None])
        return sample

    return make


@pytest.fixture
def predict(make_sample) -> Callable[..., dict]:
    """A sample whose prediction is a given label map."""

    def make(labels_HW: Tensor, gt_HW: Tensor | None = None, path: str = "a.png") -> dict:
        logits = torch.nn.functional.one_hot(labels_HW, len(CLASSES)).permute(2, 0, 1).float()
        return make_sample(logits, labels_HW if gt_HW is None else gt_HW, path)

    return make
