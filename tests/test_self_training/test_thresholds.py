# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Thresholds, assignment and sub-sampling: docs/methods/dst_cbc.md and dmt.md, "Known answers"."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.thresholds import compare_rules
from mmsemi.errors import ConfigError
from mmsemi.self_training.thresholds import (
    NUM_BINS,
    Histograms,
    PixelSampler,
    SortedConfidences,
    assign,
    bin_of,
    class_thresholds,
    lower_edge,
)

A, B = [0.60, 0.95, 0.70, 0.90, 0.80], [0.40, 0.50, 0.45]
TEN = [0.41 + 0.05 * i for i in range(10)]
RATIOS = (0.2, 0.4, 0.6, 0.8, 1.0)


def collect(kind, *classes):
    found = kind(len(classes))
    for number, values in enumerate(classes):
        found.add(np.full(len(values), number), np.asarray(values, np.float32))
    return found


def test_counts_do_not_end_with_int32():
    found, pixels = Histograms(2), (np.array([0, 1, 1]), np.array([0.5, 0.5, 0.75], np.float32))
    found.add(*pixels)
    # As if there had been many more: the fast counters must be read before they overflow.
    many = (1 << 30) - 1
    found._recent *= many
    found._num_recent = (1 << 31) - 2
    for _ in range(3):
        found.add(*pixels)
    assert found.counts() == [many + 3, 2 * many + 6]
    assert found.bins[1, bin_of(np.array([0.75], np.float32))].item() == many + 3


@pytest.mark.parametrize("kind", [SortedConfidences, Histograms])
@pytest.mark.parametrize(
    "rule, a, b",
    [
        ("ratio", (0.9, 0.8, 0.7, 0.6, 1e-4), (0.5, 0.45, 0.45, 0.4, 1e-4)),
        ("argmax", (0.9, 0.8, 0.7, 0.6, 0.6), (1e-5, 0.45, 0.45, 0.4, 0.4)),
    ],
)
def test_thresholds(kind, rule, a, b):
    found = collect(kind, A, B)
    for ratio, *expected in zip(RATIOS, a, b):
        got = class_thresholds(found, ratio, rule, 2)
        assert got == pytest.approx(expected, rel=1e-6 if kind is SortedConfidences else 2.5e-3)
        assert all(k <= np.float32(e) for k, e in zip(got, expected)), "the sampled pixel passes"


def test_thresholds_of_ten():
    found = collect(SortedConfidences, TEN)
    for ratio, expected, passing in zip(RATIOS, (0.76, 0.66, 0.56, 0.46), (3, 5, 7, 9)):
        (k,) = class_thresholds(found, ratio, "ratio", 1)
        assert k == pytest.approx(expected)
        assert (np.asarray(TEN, np.float32) >= np.float32(k)).sum() == passing


@pytest.mark.parametrize("kind", [SortedConfidences, Histograms])
def test_a_class_without_a_pixel_and_one_threshold_for_all(kind):
    found = collect(kind, A, [])
    for rule in ("ratio", "argmax"):
        assert class_thresholds(found, 0.2, rule, 2)[1] == 0
    assert class_thresholds(collect(kind, [], []), 1.0, "argmax", 2) == [0, 0]
    pooled = kind(2, per_class=False)
    pooled.add(np.asarray([0] * 5 + [1] * 3), np.asarray(A + B, np.float32))
    assert class_thresholds(pooled, 0.4, "argmax", 2) == pytest.approx([0.7, 0.7], rel=2.5e-3)
    for ratio in (0, 1.2, True, "0.2"):
        with pytest.raises(ConfigError):
            class_thresholds(found, ratio, "ratio", 2)


def test_bins_are_in_order_and_fine_near_one():
    near_one = np.nextafter(np.float32(1), np.float32(0))
    values = np.unique(np.linspace(0, 1, 9999, dtype=np.float32))
    values = np.concatenate([values, [near_one, 1 - np.float32(2**-20)]]).astype(np.float32)
    values.sort()
    bins = bin_of(values)
    assert (np.diff(bins) >= 0).all() and bins[0] == 0 and bins[-1] == NUM_BINS - 1
    assert NUM_BINS <= 65_536
    edges = np.asarray([lower_edge(number) for number in bins])
    assert (edges <= values).all() and (bin_of(edges.astype(np.float32)) == bins).all()
    # A bin is at most one part in 512 of 1 - p wide.
    rest = 1 - values[:-1].astype(np.float64)
    assert ((1 - edges[:-1]) / rest <= 1 + 1 / 512 + 1e-6).all()
    assert bin_of(np.asarray([near_one]))[0] < NUM_BINS - 1


def test_merged_parts_are_the_whole():
    generator = np.random.default_rng(0)
    label, value = generator.integers(0, 3, 5000), generator.random(5000, np.float32)
    for kind in (Histograms, SortedConfidences):
        whole, merged = kind(3), kind(3)
        whole.add(label, value)
        for part in np.array_split(np.arange(5000), 4):
            one = kind(3)
            one.add(label[part], value[part])
            merged.merge(one.state())
        for ratio in RATIOS:
            want = class_thresholds(whole, ratio, "argmax", 3)
            assert class_thresholds(merged, ratio, "argmax", 3) == want


PIXELS = torch.tensor([[0.5, 0.45, 0.05], [0.92, 0.05, 0.03], [0.3, 0.35, 0.35], [0.85, 0.1, 0.05]])


@pytest.mark.parametrize(
    "rule, expected", [("ratio", [1, 0, 255, 255]), ("argmax", [255, 0, 255, 255])]
)
def test_assignment(rule, expected):
    label, confidence = assign(PIXELS.T[:, None], (0.9, 0.4, 0.5), rule)
    assert label[0].tolist() == expected and label.dtype == torch.uint8
    assert confidence[0, 0].item() == pytest.approx(0.45 if rule == "ratio" else 0.5)


@pytest.mark.parametrize("rule", ["ratio", "argmax"])
def test_a_class_with_threshold_0_is_the_label_only_where_it_is_likeliest(rule):
    label, _ = assign(PIXELS.T[:, None], (0.0, 0.4, 0.5), rule)
    assert label[0].tolist() == [0, 0, 255, 0]


def test_sub_sampling():
    maps = np.arange(18).reshape(2, 9)
    batch = PixelSampler("batch", 4)([9, 9], [0, 1])
    assert [maps[i][p].tolist() for i, p in enumerate(batch)] == [[0, 4, 8], [12, 16]]
    each = PixelSampler("image", 4)([9, 9], [0, 1])
    assert [maps[i][p].tolist() for i, p in enumerate(each)] == [[0, 4, 8], [9, 13, 17]]
    draw = PixelSampler("random", 4, seed=3)
    first, second = draw([100, 100], [7, 8])
    assert len(first) == 25 and len(set(first)) == 25 and not np.array_equal(first, second)
    assert np.array_equal(draw([100], [8])[0], second), "a function of seed and image"
    for wrong in (dict(how="grid"), dict(stride=0)):
        with pytest.raises(ConfigError):
            PixelSampler(**wrong)


def test_histograms_admit_the_exact_share():
    result = compare_rules(num_maps=60, size=81, num_classes=7)
    assert result["largest_difference"] < 0.1, "points of the share of a class"
