# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Polygons against a test of every pixel centre, run lengths against an encoder."""

from __future__ import annotations

import numpy as np
import pytest

from mmsemi.datasets.converters.rasterize import decode_runs, fill_polygon, unpack_counts


def slow_fill(points, height: int, width: int) -> np.ndarray:
    """Every centre on its own: how many edges cross the ray to its left."""
    inside = np.zeros((height, width), bool)
    for r in range(height):
        for c in range(width):
            x, y, crossings = c + 0.5, r + 0.5, 0
            for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]]):
                if (y1 <= y) != (y2 <= y):
                    crossings += x1 + (y - y1) * (x2 - x1) / (y2 - y1) < x
            inside[r, c] = crossings % 2
    return inside


def pack_counts(counts) -> str:
    """COCO's compressed string."""
    text = ""
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        while True:
            group, value = value & 31, value >> 5
            is_last = value == (-1 if group & 16 else 0)
            text += chr(48 + (group if is_last else group | 32))
            if is_last:
                break
    return text


def to_counts(mask: np.ndarray) -> list[int]:
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, len(flat)]).tolist()
    return [0, *counts] if flat[0] else counts


def test_a_rectangle_covers_its_pixels():
    points = [(1, 2), (4, 2), (4, 5), (1, 5)]
    inside = fill_polygon(points, 6, 7)
    assert inside.sum() == 9 and inside[2:5, 1:4].all()
    half = fill_polygon([(1.4, 2.6), (3.6, 2.6), (3.6, 4.4), (1.4, 4.4)], 6, 7)
    assert half.sum() == 3 and half[3, 1:4].all(), "centres 1.5, 2.5, 3.5 in row 3 only"


@pytest.mark.parametrize("seed", range(6))
def test_polygons_match_the_slow_way(seed):
    """Random ones cross themselves, leave the image, and have horizontal edges."""
    random = np.random.default_rng(seed)
    points = random.uniform(-4, 24, (int(random.integers(3, 12)), 2))
    if seed % 2:
        points = np.round(points * 2) / 2  # corners on centre lines
    points[1, 1] = points[0, 1]
    expected = slow_fill(points.tolist(), 17, 20)
    if seed % 2:  # a centre on an edge may belong to either side
        close = fill_polygon(points, 17, 20) != expected
        assert close.mean() < 0.05
        return
    assert expected.any() and np.array_equal(fill_polygon(points, 17, 20), expected)


def test_neighbours_share_no_pixel_and_leave_no_gap():
    random = np.random.default_rng(0)
    for _ in range(20):
        a, b = (0, random.uniform(0, 16)), (20, random.uniform(0, 16))
        above = fill_polygon([(0, 0), (20, 0), b, a], 16, 20)
        below = fill_polygon([a, b, (20, 16), (0, 16)], 16, 20)
        assert np.array_equal(above, ~below)


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_come_back(seed):
    random = np.random.default_rng(seed)
    mask = random.random((60, 50)) < random.choice([0.02, 0.5, 0.98])
    mask[:, 10:30] = seed % 2 == 0  # long runs need several characters, differences get a sign
    counts = to_counts(mask)
    assert np.array_equal(decode_runs(counts, 60, 50), mask)
    text = pack_counts(counts)
    assert unpack_counts(text) == counts and np.array_equal(decode_runs(text, 60, 50), mask)


def test_known_strings():
    """Worked out by hand from the format."""
    assert unpack_counts("0") == [0] and unpack_counts("?") == [15]
    assert unpack_counts("P1") == [32], "group 0 with the flag, then group 1"
    assert unpack_counts("@0") == [-16, 0], "bit 4 of the last group is the sign"
    assert unpack_counts("1231") == [1, 2, 3, 3], "the fourth is stored as a difference"
    assert unpack_counts("123M") == [1, 2, 3, -1]


@pytest.mark.parametrize(
    ("counts", "value"), [("P", None), ("1 2", "' '"), ([1, 2], "3x2")], ids=repr
)
def test_broken_run_lengths(counts, value):
    with pytest.raises(ValueError, match=value):
        decode_runs(counts, 2, 3)
