# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The published rules on made-up master lists: known answers that need no data set."""

from __future__ import annotations

import pytest

from mmsemi.datasets.splits import ids_sha256
from mmsemi.datasets.splits.generators import dmt, dstcbc, dstcbc_count, generate, rest_of


def master(count: int) -> list[str]:
    return [f"id{number:05d}" for number in range(count)]


# Rule with its parameters, length of the master list, labelled ids, the first five, their hash.
KNOWN_ANSWERS = [
    (dict(rule="dstcbc", divisor=105.82, fold=0), 10582, 100, [8270, 8180, 1072, 3150, 9388],
     "6a899ee7b07588453864733efd2ac809bce14c4c60f9ea0cdb66fa9bd381f1dd"),
    (dict(rule="dstcbc", divisor=105.82, fold=1), 10582, 100, [6510, 3897, 754, 4386, 2625],
     "b1b0ba5810a779c079868831185e42690247ea1a0dca26ed2ababc8184bcc509"),
    (dict(rule="dstcbc", divisor=105.82, fold=2), 10582, 100, [9523, 4280, 5983, 222, 1281],
     "65830de9031352d5db4802d642e72d494f3bd34144767a8cfc6b0994dea14850"),
    (dict(rule="dstcbc", divisor=20, fold=0), 10582, 530, [8270, 8180, 1072, 3150, 9388],
     "16bbbe4a40951d7182454ba580a4a8c0b33341978a489525df04384a62613dd0"),
    (dict(rule="dstcbc", divisor=29.75, fold=0), 2975, 100, [2419, 399, 2411, 1060, 1197],
     "9d9b7ac6d542e0fc6ac180f7db899f3c7dad1861785e467ac40ea39b1edb7055"),
    (dict(rule="every_kth", every=16), 10582, 662, [0, 16, 32, 48, 64],
     "a96ba6737e884da5fd4f049b2431e0cee210ccbb8ebd95ad58495a6462dcb7b2"),
    (dict(rule="sampled_set", count=372, seed=1), 2975, 372, [2051, 6, 8, 2057, 2064],
     "24cf75b2fa5a67c807cc8c596c60f136979ac0902bbcd913eec97a088d51e817"),
    (dict(rule="sampled_set", count=744, seed=2), 2975, 744, [2048, 2051, 6, 7, 2056],
     "ef59d6dc4c421f07692905630952564783615abab6e2af0a013c129201b2979f"),
    (dict(rule="sampled_sorted", count=1323, seed=4), 10582, 1323, [9, 14, 27, 33, 42],
     "7b3639ca40fb7c53b329798e8ef7ac17f5fff6489818514d80f6545af2035d0d"),
    (dict(rule="sampled", rest="master", count=662, seed=5), 1464, 662,
     [1275, 523, 734, 1414, 1335],
     "25feb6e6ef9c7a0e478a0ad63bd7cc8b896ec159639459258aff1a63ddad08e3"),
    (dict(rule="sampled", rest="master", count=1182, seed=5), 9118, 1182,
     [4185, 5874, 8684, 475, 7628],
     "3b5d441c37e148d5964abbe8f6788e3295bb52af96aacab6f98d1d70487c2daf"),
    (dict(rule="sampled", rest="master", count=3827, seed=6), 9118, 3827,
     [1320, 7946, 4286, 603, 7],
     "ac3c7795f0ef16e29281d07996dea1df4e1305a5537a368e38c936c16190733a"),
    (dict(rule="shuffled", count=316, seed=0), 20210, 316, [1608, 6907, 18001, 3066, 3161],
     "6ccf7079a8984586dabe9cb93b82a45f1727636d4d10b7d49176afdaa84cb4aa"),
]  # fmt: skip


@pytest.mark.parametrize(("generator", "total", "count", "first", "sha256"), KNOWN_ANSWERS)
def test_known_answers(generator, total, count, first, sha256):
    ids = master(total)
    labeled, unlabeled = generate({**generator, "master": "master"}, lambda name: ids)
    assert len(labeled) == count
    assert [int(item[2:]) for item in labeled[:5]] == first
    assert ids_sha256(labeled, order=True) == sha256
    assert sorted(labeled + unlabeled) == ids


def test_the_sample_then_given_rule_puts_the_sample_first():
    lists = {"big": master(9118), "small": ["x1", "x2"], "all": [*master(9118), "x1", "x2"]}
    generator = dict(
        rule="sampled_then_given", master="big", given="small", rest="all", count=1182, seed=5
    )
    labeled, unlabeled = generate(generator, lists.__getitem__)
    assert ids_sha256(labeled[:1182], order=True).startswith("3b5d441c37e1")
    assert labeled[1182:] == ["x1", "x2"] and len(unlabeled) == 9118 - 1182


def test_whole_sets():
    lists = {"a": ["1", "2", "3"], "b": ["3", "2"]}
    assert generate(dict(rule="given", master="b", rest="a"), lists.get) == (["3", "2"], ["1"])
    assert generate(dict(rule="everything", master="a"), lists.get) == (["1", "2", "3"], [])
    twice = generate(dict(rule="everything_twice", master="a"), lists.get)
    assert twice == (lists["a"], lists["a"])


def test_dstcbc_counts_avoid_a_last_batch_of_one():
    assert [dstcbc_count(10582, divisor) for divisor in (2, 4, 8, 20, 50, 105.82)] == [
        *(5291, 2645, 1322, 530, 211, 100)
    ]
    assert dstcbc_count(17, 1) == 18  # batches of 8 would leave a single image


def test_the_ratios_of_a_dstcbc_fold_are_nested():
    ids = master(1000)
    for fold in range(3):
        small, large = dstcbc(ids, 20, fold)[0], dstcbc(ids, 4, fold)[0]
        assert large[: len(small)] == small


def test_the_two_parts_of_dmt_share_sixty_percent():
    ids = master(10582)
    whole, unlabeled = dstcbc(ids, 105.82, 1)
    left, left_rest = dmt(ids, 105.82, 1, "left")
    right, _ = dmt(ids, 105.82, 1, "right")
    assert (len(left), len(right), len(set(left) & set(right))) == (80, 80, 60)
    assert set(left) | set(right) == set(whole) and left_rest == unlabeled
    assert dmt(ids, 105.82, 0, "left")[0] != left
    with pytest.raises(ValueError, match="1/3"):
        dmt(ids, 3, 0, "left")


def test_rest_of_keeps_the_order():
    assert rest_of(["c", "a", "b"], ["a"]) == ["c", "b"]
