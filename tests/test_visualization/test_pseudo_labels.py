# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import numpy as np

from mmsemi.visualization.pseudo_labels import (
    CAPTION,
    GAP,
    paint_confidence,
    paint_labels,
    pseudo_label_panel,
)
from mmsemi.visualization.report import VOID_COLOR

PALETTE = [(0, 0, 0), (200, 10, 10), (10, 200, 10)]


def test_labels_are_painted_in_their_colours():
    painted = paint_labels(np.array([[0, 1], [2, 255]]), PALETTE)
    assert painted.tolist() == [[[0, 0, 0], [200, 10, 10]], [[10, 200, 10], list(VOID_COLOR)]]


def test_confidence_grows_brighter():
    painted = paint_confidence(np.array([[-1.0, 0.0, 0.5, 1.0, 2.0]])).astype(int)[0]
    assert (painted[0] == painted[1]).all() and (painted[3] == painted[4]).all()
    brightness = painted.sum(1)
    assert brightness[1] < brightness[2] < brightness[3]
    assert painted[1][2] > painted[1][0] and painted[3][0] > painted[3][2], "blue to yellow, RGB"


def row(size: int, **changes) -> dict:
    return (
        dict(
            image=np.full((size, size, 3), 50, np.uint8),
            student=np.full((size, size, 3), 60, np.uint8),
            label=np.ones((size, size), int),
            confidence=np.ones((size, size)),
            target=np.full((size, size), 2),
        )
        | changes
    )


def test_a_row_of_enlarged_tiles_for_each_sample():
    panel = pseudo_label_panel([row(80), row(80)], ("a", "b", "c"), PALETTE, [0, 0, 1.0])
    width = 5 * 160 + 4 * GAP
    assert panel.shape[1] == width and panel.dtype == np.uint8
    assert panel.shape[0] > 2 * (160 + CAPTION)
    for top in (CAPTION, 2 * CAPTION + 160):
        tiles = [panel[top : top + 160, i * (160 + GAP) : i * (160 + GAP) + 160] for i in range(5)]
        colours = [np.unique(tile.reshape(-1, 3), axis=0).tolist() for tile in tiles]
        assert colours[0] == [[50] * 3] and colours[3] == [[60] * 3]
        assert colours[1] == [list(PALETTE[1])] and colours[4] == [list(PALETTE[2])]
    with_truth = row(80, truth=np.full((80, 80), 255))
    panel = pseudo_label_panel([with_truth, row(80)], ("a", "b", "c"), PALETTE, [0, 0, 0.5])
    assert panel.shape[1] == 6 * 160 + 5 * GAP
    assert (panel[CAPTION + 5, -5] == VOID_COLOR).all()


def test_large_images_are_reduced():
    panel = pseudo_label_panel([row(1000)], ("a", "b", "c"), PALETTE, [0, 0, 1.0])
    assert panel.shape[1] == 5 * 480 + 4 * GAP
