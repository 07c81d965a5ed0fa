# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Random labelled subsets: sizes, nesting, and settings that are refused."""

from __future__ import annotations

import pytest

from mmsemi.datasets.splits import CountSplit, RatioSplit
from mmsemi.errors import ConfigError

IDS = [f"a/id{i:03d}" for i in range(100)]


def test_ratio_and_count_agree_and_nest():
    labeled, unlabeled = RatioSplit(0.1, seed=3)(IDS)
    assert len(labeled) == 10 and sorted(labeled + unlabeled) == IDS
    assert CountSplit(10, seed=3)(IDS) == (labeled, unlabeled)
    assert set(labeled) < set(RatioSplit(0.5, seed=3)(IDS)[0])
    assert set(labeled) != set(RatioSplit(0.1, seed=4)(IDS)[0])


def test_file_order_does_not_matter():
    assert RatioSplit(0.2, seed=1)(IDS[::-1]) == RatioSplit(0.2, seed=1)(IDS)


@pytest.mark.parametrize(
    ("ratio", "total", "count"), [(0.1, 30, 3), (0.29, 100, 29), (0.001, 50, 1)]
)
def test_rounding_is_down_with_at_least_one(ratio, total, count):
    assert len(RatioSplit(ratio)(IDS[:total])[0]) == count


def test_rounding_up_is_an_option():
    assert len(RatioSplit(1 / 8, rounding="ceil")(IDS)[0]) == 13
    assert len(RatioSplit(0.1, rounding="ceil")(IDS)[0]) == 10
    assert set(RatioSplit(1 / 8)(IDS)[0]) < set(RatioSplit(1 / 8, rounding="ceil")(IDS)[0])
    with pytest.raises(ConfigError, match="split.rounding.*'up'"):
        RatioSplit(0.1, rounding="up")


@pytest.mark.parametrize(
    "build", [lambda: RatioSplit(0), lambda: RatioSplit(1.5), lambda: CountSplit(0)]
)
def test_impossible_sizes_are_refused(build):
    with pytest.raises(ConfigError, match="split.*(0|1.5)$"):
        build()
    with pytest.raises(ConfigError, match="split.count=101 .* 100 "):
        CountSplit(101)(IDS)


def test_a_ratio_may_be_a_fraction_and_sizes_must_be_whole():
    assert RatioSplit("1/8", seed=3)(IDS) == RatioSplit(1 / 8, seed=3)(IDS)
    for build in (
        lambda: RatioSplit("half"),
        lambda: RatioSplit(None),
        lambda: RatioSplit(0.5, seed=None),
        lambda: CountSplit(2.5),
        lambda: CountSplit(2, seed="1"),
    ):
        with pytest.raises(ConfigError, match=r"split\."):
            build()
