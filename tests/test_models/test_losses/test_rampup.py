# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import math

import pytest

from mmsemi.models.losses import rise_and_fall, sigmoid_rampup


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


@pytest.mark.parametrize(
    ("step", "length", "triangle", "cosine"),
    [
        (0, 80, 0, 0),
        (1, 80, 0.025, 0.001541),
        (10, 80, 0.25, 0.146447),
        (20, 80, 0.5, 0.5),
        (40, 80, 1, 1),
        (60, 80, 0.5, 0.5),
        (79, 80, 0.025, 0.001541),
        (1, 240, 0.008333, 0.000171),
        (120, 240, 1, 1),
        *((step, 5, value, None) for step, value in enumerate((0, 0.5, 1, 0.666667, 0.333333))),
        (0, 1, 1, 0),
    ],
)
def test_weights_that_rise_and_fall(step, length, triangle, cosine):
    """docs/methods/prevmatch.md#weight."""
    assert rise_and_fall(step, length, "triangle") == pytest.approx(triangle, abs=1e-6)
    if cosine is not None:
        assert rise_and_fall(step, length) == pytest.approx(cosine, abs=1e-6)
    assert rise_and_fall(step, length, "constant") == 1
