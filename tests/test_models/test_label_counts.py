# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Counted pixels are those of the labels."""

from __future__ import annotations

import torch

from mmsemi.models.label_counts import LabelCounts, count_pixels

LABELS = torch.tensor([[[0, 2, 2], [255, 1, -1]]])


def test_pixels_of_each_class():
    assert count_pixels(LABELS, 3).tolist() == [1, 1, 2, 2]
    assert count_pixels(LABELS, 2).tolist() == [1, 1, 4], "2 is none of two classes"
    valid = torch.tensor([[[True, True, False], [False, True, True]]])
    assert count_pixels(LABELS, 3, valid).tolist() == [1, 1, 1, 1]
    assert count_pixels(LABELS.to(torch.uint8), 3).tolist() == [1, 1, 2, 2]
    assert count_pixels(LABELS[:0], 3).tolist() == [0, 0, 0, 0]


def test_counts_are_taken_once():
    counts = LabelCounts(3, torch.device("cpu"))
    counts.add_labeled(LABELS)
    counts.add_kept(LABELS)
    counts.add_kept(torch.full_like(LABELS, 255))
    assert counts.steps == 2
    taken = counts.take()
    assert taken.dtype == torch.float64
    assert taken.tolist() == [[1, 1, 2, 2], [1, 1, 2, 8]]
    assert counts.steps == 0 and not counts.take().any()
