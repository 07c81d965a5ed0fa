# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Kinds that the labels miss, copies, scenes and the draw of validation images: known answers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmsemi.own_data.holdout import copies_of, find_scenes, groups_of_copies, hold_out
from mmsemi.own_data.kinds import choose, find_kinds, missed_kinds, silhouette
from mmsemi.own_data.pictures import SIDE, Looks, fingerprint


def looks(features, names="x") -> Looks:
    features_NF = np.array(features, np.float32)
    paths = [f"{names}{number}" for number in range(len(features_NF))]
    return Looks(paths, np.zeros((len(paths), 16, 16, 3), np.uint8), features_NF, "")


def cloud(dark: int, stained: int, seed: int = 0) -> np.ndarray:
    """Points near (0, 0) and near (1, 0)."""
    noise = np.random.default_rng(seed).normal(0, 0.02, (dark + stained, 2))
    noise[dark:, 0] += 1
    return noise.astype(np.float32)


# --- Kinds ----------------------------------------------------------------------------------------


def test_silhouette_of_four_points():
    points = np.array([[0.0], [2.0], [10.0], [12.0]], np.float32)
    # a = 2; b = 11, 9, 9, 11
    expected = np.mean([9 / 11, 7 / 9, 7 / 9, 9 / 11])
    assert silhouette(points, np.array([0, 0, 5, 5])) == pytest.approx(expected, abs=1e-5)
    assert silhouette(points, np.zeros(4, int)) == 0


def test_kinds_are_found_where_there_are_some():
    kinds = find_kinds(cloud(40, 10))
    assert len(set(kinds[:40])) == len(set(kinds[40:])) == 1 and kinds[0] != kinds[40]
    uniform = np.random.default_rng(0).normal(0, 1, (200, 6)).astype(np.float32)
    assert not find_kinds(uniform).any()
    assert not find_kinds(cloud(2, 2)).any()  # too few to tell


@pytest.mark.parametrize(("stained", "missed"), [(0, True), (1, True), (2, False)])
def test_a_kind_is_missed_with_one_label_and_a_fifth_of_the_images(stained, missed):
    found = missed_kinds(looks(cloud(14 - stained, stained)), looks(cloud(80, 20, 1), "u"))
    assert len(found) == missed
    if missed:
        assert found[0].labeled == stained and found[0].share == pytest.approx(0.2)
        assert all(int(path[1:]) >= 80 for path in found[0].examples)


def test_a_rare_kind_is_none():
    assert not missed_kinds(looks(cloud(14, 0)), looks(cloud(97, 3, 1), "u"))


def test_choices_stand_for_all_images():
    chosen = choose(looks(cloud(30, 5)), 2)
    assert [one.stands_for for one in chosen] == [30, 5]
    assert len(choose(looks(cloud(2, 1)), 3)) == 3


# --- Copies ---------------------------------------------------------------------------------------


def picture(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def seen(pictures) -> Looks:
    prints = np.stack([fingerprint(one) for one in pictures])
    return Looks([str(i) for i in range(len(prints))], prints, np.zeros((len(prints), 8)), "")


def test_an_image_saved_anew_is_a_copy_and_another_one_is_not():
    _, data = cv2.imencode(".jpg", cv2.resize(picture(3), (70, 50)), [cv2.IMWRITE_JPEG_QUALITY, 60])
    again = cv2.resize(cv2.imdecode(data, cv2.IMREAD_COLOR), (SIDE, SIDE))
    flat = np.full((SIDE, SIDE, 3), 30, np.uint8)
    known = seen([picture(1), picture(3), flat])
    assert copies_of(seen([picture(2), again, flat, flat + 60]), known) == {1: 1, 2: 2}
    brighter = cv2.convertScaleAbs(picture(3), alpha=0.7)
    assert copies_of(seen([brighter]), known) == {}
    assert copies_of(known.chosen([]), known) == {}


def test_copies_of_copies_are_one_group():
    assert groups_of_copies(seen([picture(1), picture(2), picture(1), picture(1)])) == [0, 1, 0, 0]


# --- Scenes and the draw --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([f"{s}/{n}" for s in "abc" for n in range(3)], list("aaabbbccc")),
        ([f"img_{s}-{n}" for s in "abc" for n in range(2)], [f"img {s}" for s in "aabbcc"]),
        ([f"train_{n:03}" for n in range(20)], None),
        (["a_1", "b_1"], None),
        ([f"a_{n}" for n in range(8)] + ["b_1", "c_1"], None),  # one scene is nearly all
        ([], None),
    ],
)
def test_scenes_by_the_beginnings_of_names(names, expected):
    assert find_scenes(names) == expected


def test_the_draw_keeps_scenes_and_copies_whole_and_every_class_in_training():
    split = hold_out(list("aabbccddee"), [{0, 1}] * 10)
    assert len(split.val) == 2 and len(split.scenes) == 1
    assert not set(split.train) & set(split.val) and len(split.train) == 8
    groups = [0, 0, 2, 3, 4, 5, 6, 7, 8, 9]
    split = hold_out(None, [{0, 1}] * 10, groups)
    assert (0 in split.val) == (1 in split.val) and split.seed == 0 and not split.scenes
    for rare in range(5):
        split = hold_out(None, [{0, 1} if index == rare else {0} for index in range(5)])
        assert rare in split.train and len(split.val) == 1
    assert len(hold_out(None, [{0}, {1}]).train) == 1
