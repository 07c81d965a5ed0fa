# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Which images a rule chooses, and bars by class."""

from __future__ import annotations

import re

import pytest

from mmsemi.visualization.gains import at_shares, plot_bars

NAN = float("nan")


@pytest.mark.parametrize(
    ("gains", "shares", "expected"),
    [
        ([3.0, 1.0, 2.0], (0, 0.5, 1), [1, 2, 0]),
        ([3.0, NAN, 1.0, 2.0], (0, 0.5, 1), [2, 3, 0]),  # all void: no gain to speak of
        ([1.0, 1.0, 1.0], (0, 1), [0, 2]),  # ties stay in their order
        ([5.0], (0.25, 0.5, 1), [0]),  # no image twice
        ([NAN], (0.5,), []),
        ([], (0.5,), []),
    ],
)
def test_images_are_chosen_by_their_place(gains, shares, expected):
    assert at_shares(gains, shares) == expected


def test_a_bar_for_each_value():
    columns = {"supervised": {"ring": 40.4, "bar": 30.0}, "CPS": {"ring": 51.6, "bar": NAN}}
    svg = plot_bars(columns, "IoU (%)")
    texts = re.findall(r">([^<>]+)</text>", svg)
    assert {"supervised", "CPS", "ring", "bar", "40", "52"} <= set(texts)
    assert "nan" not in texts
    assert svg == plot_bars(columns, "IoU (%)")
    assert plot_bars({"alone": {}}, "IoU (%)").startswith("<?xml")
