# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Losses: pure functions on tensors and the registered modules around them."""

from __future__ import annotations

from .cross_entropy import (
    PixelCrossEntropy,
    ProbOhemCrossEntropy,
    cross_entropy,
    ohem_cross_entropy,
)
from .rampup import sigmoid_rampup

__all__ = [
    "PixelCrossEntropy",
    "ProbOhemCrossEntropy",
    "cross_entropy",
    "ohem_cross_entropy",
    "sigmoid_rampup",
]
