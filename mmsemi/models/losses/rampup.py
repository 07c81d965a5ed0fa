# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Weights that change during training."""

from __future__ import annotations

import math


def sigmoid_rampup(step: int, length: int) -> float:
    """The "sigmoid-shaped" ramp-up exp(-5 (1 - t/T)^2) of Laine and Aila, ICLR 2017, arXiv 1610.02242.

    Args:
        step: Current step t, from 0.
        length: Steps T until the weight is 1; 0 means no ramp-up.

    Returns:
        A weight in [exp(-5), 1].
    """
    if step >= length:
        return 1.0
    return math.exp(-5.0 * (1.0 - step / length) ** 2)


def rise_and_fall(step: int, length: int, curve: str = "raised_cosine") -> float:
    """A weight that is 0 at the start, 1 in the middle and about 0 at the end (PrevMatch).

    Shin et al., *Revisiting and Maximizing Temporal Knowledge in Semi-supervised Semantic
    Segmentation*, WACV 2026, arXiv 2405.20610: its released code and the logs of its published runs.

    Args:
        step: Current step t, from 0.
        length: Steps T of the training.
        curve: With h = floor(T/2), ``'triangle'`` (the released code) is t/h and, from h on,
            (T - t)/(T - h); ``'raised_cosine'`` (most of the published logs) is
            (1 - cos(2 pi t/T))/2; ``'constant'`` is 1.

    Returns:
        A weight in [0, 1].
    """
    if curve == "constant":
        return 1.0
    if curve == "raised_cosine":
        return (1 - math.cos(2 * math.pi * step / length)) / 2
    half = length // 2
    return step / half if step < half else (length - step) / (length - half)
