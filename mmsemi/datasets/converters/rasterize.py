# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""COCO's two ways to store a region, as arrays: polygons and run lengths.

Own code, so that no compiled package is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def fill_polygon(points_N2: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixels whose centre lies inside a polygon (even-odd rule).

    In COCO's coordinates pixel (row r, column c) covers [c, c + 1) x [r, r + 1), so its centre is at
    (c + 0.5, r + 0.5).

    Args:
        points_N2: (N, 2) x, y of the corners; the last one is joined to the first.

    Returns:
        (height, width) bool.
    """
    x1, y1 = np.asarray(points_N2, float).T
    x2, y2 = np.roll(x1, -1), np.roll(y1, -1)
    # Rows whose centre line an edge crosses: lower end inclusive, upper exclusive, so that a corner
    # on a centre line counts once.
    first = np.ceil(np.minimum(y1, y2) - 0.5).clip(0, height).astype(int)
    last = np.ceil(np.maximum(y1, y2) - 0.5).clip(0, height).astype(int)
    lengths = last - first
    edge = np.repeat(np.arange(len(lengths)), lengths)
    row = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[edge]
    slope = (x2 - x1)[edge] / np.where(y2 == y1, 1, y2 - y1)[edge]
    x = x1[edge] + (row + 0.5 - y1[edge]) * slope
    # Every crossing turns "inside" over for all pixel centres to the right of it.
    column = np.ceil(x - 0.5).clip(0, width).astype(int)
    turns = np.zeros((height, width + 1), np.int32)
    np.add.at(turns, (row, column), 1)
    return (np.cumsum(turns[:, :width], axis=1) & 1).astype(bool)


def unpack_counts(text: str) -> list[int]:
    """Run lengths of COCO's compressed string.

    Every number is written in groups of five bits, lowest first, as the character with code
    48 + group, plus 32 if more groups follow; bit 4 of the last group is the sign. From the fourth
    number on, the difference to the number two places before is stored.

    Raises:
        ValueError: The string has another character or ends inside a number.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise ValueError(f"run-length string with the character {character!r}")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("run-length string that ends inside a number")
    return counts


def decode_runs(counts: Sequence[int] | str, height: int, width: int) -> np.ndarray:
    """Run lengths, outside and inside in turn, down the columns, as (height, width) bool.

    Raises:
        ValueError: The lengths do not add up to the image.
    """
    if isinstance(counts, str):
        counts = unpack_counts(counts)
    runs = np.asarray(counts, np.int64)
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"run lengths that do not add up to {width}x{height} pixels")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T
