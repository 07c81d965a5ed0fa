# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Weights that grow during training."""

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
