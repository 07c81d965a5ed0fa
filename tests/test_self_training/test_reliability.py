# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""ST++: reliability, order and shares; docs/methods/st_plus_plus.md, "Known answers"."""

from __future__ import annotations

import numpy as np
import pytest

from mmsemi.errors import ConfigError
from mmsemi.self_training.reliability import (
    agreements,
    copy_iterations,
    count_of_share,
    mean_iou,
    order_by_reliability,
)


def label_map(text: str) -> np.ndarray:
    return np.asarray([[int(digit) for digit in row] for row in text.split("/")])


MAPS = [label_map(t) for t in ("0001/0011/3011", "0011/0011/0011", "0011/0011/0002")]


def test_reliability():
    assert mean_iou(MAPS[0], MAPS[2], 5) == pytest.approx(0.28125, abs=1e-6)
    assert mean_iou(MAPS[1], MAPS[2], 5) == pytest.approx(0.507937, abs=1e-6)
    assert np.mean(agreements(MAPS, 5)) == pytest.approx(0.394593, abs=1e-6)
    assert mean_iou(MAPS[2], MAPS[0], 5) == mean_iou(MAPS[0], MAPS[2], 5)


def test_an_image_of_background():
    plain = np.zeros((100, 100), np.uint8)
    assert agreements([plain] * 3, 21) == [1, 1]
    stray = plain.copy()
    stray[3, 4] = 7
    assert mean_iou(stray, plain, 21) == pytest.approx(0.49995, abs=1e-6)


SCORES = dict(d=0.9, e=1.0, a=0.7, b=0.9, c=0.9, g=1.0, f=0.2)


@pytest.mark.parametrize(
    "left_out, by_list, by_name",
    [("", "egd bcaf", "egb cdaf"), ("f", "egd bca", "egb cda"), ("gf", "ed bca", "eb cda")],
)
def test_order(left_out, by_list, by_name):
    scores = {name: r for name, r in SCORES.items() if name not in left_out}
    for given, expected in ((True, by_list), (False, by_name)):
        order = order_by_reliability(scores, given)
        half = count_of_share(0.5, len(order))
        assert f"{''.join(order[:half])} {''.join(order[half:])}" == expected
    backwards = dict(reversed(scores.items()))
    assert order_by_reliability(backwards) == order_by_reliability(scores)


def test_shares_and_copies():
    assert [count_of_share(s, 100) for s in (0.57, "0.29", 1.0)] == [57, 29, 100]
    assert count_of_share(0.5, 1) == 0
    assert copy_iterations(6560, 3) == [2186, 4373, 6560]
    assert copy_iterations(1001, 3) == [333, 667, 1001]
    assert copy_iterations(3, 3) == [1, 2, 3]
    for wrong in (lambda: copy_iterations(2, 3), lambda: copy_iterations(9, 1)):
        with pytest.raises(ConfigError):
            wrong()
    for share in (0, 1.5, "half"):
        with pytest.raises(ConfigError):
            count_of_share(share, 10)
