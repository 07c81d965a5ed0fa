# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Where networks are wrong: rims, kinds of images, what is found and what is right."""

from __future__ import annotations

import cv2
import numpy as np

from runs.errors import error_cells, kinds, rims


def test_a_rim_is_two_pixels_to_each_side():
    mask = np.zeros((1, 9), np.uint8)
    mask[0, 5:] = 1
    assert rims(mask).tolist() == [[False, False, False, True, True, True, True, False, False]]
    assert not rims(np.zeros((4, 4), np.uint8)).any()


def test_errors_are_counted_by_rim_and_kind():
    mask = np.zeros((2, 10), np.uint8)
    mask[:, 5:] = 1
    wrong_at_rim, wrong_far = mask.copy(), mask.copy()
    wrong_at_rim[0, 4] = 1  # background called 1, beside the rim
    wrong_far[:, 9] = 0  # two pixels of 1 missed
    void = mask.copy()
    void[:, 9] = 255  # what is void is not wrong, and no pixel
    pairs = [(0, wrong_at_rim, mask), (1, wrong_far, mask), (1, wrong_far, void)]
    found, right, at_rims, elsewhere, *by_kind = error_cells(pairs, 2, [1], 3)
    assert found == f"{100 * (10 + 8 + 8) / 28:.1f}", "of 28 pixels of class 1"
    assert right == f"{100 * 26 / 27:.1f}"
    assert (at_rims, elsewhere) == (f"{100 / 58:.2f}", f"{200 / 58:.2f}")
    assert by_kind[0] == f"{100 * (9 / 10 + 10 / 11) / 2:.1f}" and by_kind[2] == ""


def test_an_image_is_of_the_kind_whose_colours_are_nearest(tmp_path):
    def image(name: str, value: int) -> str:
        path = tmp_path / f"{name}.png"
        cv2.imwrite(str(path), np.full((4, 4, 3), value, np.uint8))
        return path

    labeled = [image("dark", 20), image("bright", 240)]
    assert kinds([image("a", 200), image("b", 30), image("c", 250)], labeled).tolist() == [1, 0, 1]
