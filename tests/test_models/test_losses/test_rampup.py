# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import math

import pytest

from mmsemi.models.losses import sigmoid_rampup


@pytest.mark.parametrize(
    ("step", "length", "weight"),
    [
        (0, 100, math.exp(-5)),
        (50, 100, math.exp(-1.25)),
        (99, 100, math.exp(-5e-4)),
        (100, 100, 1.0),
        (7, 0, 1.0),
    ],
)
def test_known_values(step, length, weight):
    assert sigmoid_rampup(step, length) == pytest.approx(weight, rel=1e-12)
