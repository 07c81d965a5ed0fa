# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Random resizing: sizes against the rule, pixels against the libraries."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmsemi.errors import ConfigError


def sample(height: int, width: int) -> dict:
    random = np.random.RandomState(0)
    return dict(
        img=random.randint(0, 256, (height, width, 3)).astype(np.uint8),
        img_shape=(height, width),
        gt_seg_map=random.randint(0, 21, (height, width)).astype(np.uint8),
        seg_fields=["gt_seg_map"],
    )


def build(**settings):
    return TRANSFORMS.build(dict(type="RandomRelativeResize", **settings))


@pytest.mark.parametrize("size", [(7, 12), (12, 7), (9, 9)])
def test_every_long_side_of_the_range_is_equally_likely(size):
    transform = build()
    long_side = max(size)
    np.random.seed(0)
    shapes = [transform(sample(*size))["img_shape"] for _ in range(3000)]
    values, counts = np.unique([max(shape) for shape in shapes], return_counts=True)
    assert values.tolist() == list(range(long_side // 2, 2 * long_side + 1))
    assert counts.min() > 0.7 * 3000 / len(values)
    for shape in set(shapes):
        sides = sorted(shape)
        assert sides[0] == int(min(size) * sides[1] / long_side + 0.5)
        assert (shape[0] > shape[1]) == (size[0] > size[1])


def test_an_odd_long_side_is_halved_downwards():
    """Known values: L = 333 gives 166..666, and 333x250 at L' = 167 is 167x125."""
    transform = build(ratio_range=(0.5, 0.5))
    assert transform(sample(333, 250))["img_shape"] == (166, 125)  # 124.62 + .5
    assert build(ratio_range=(2.0, 2.0))(sample(333, 250))["img_shape"] == (666, 500)
    # 3 * 6 / 4 = 4.5 is rounded up, where Python's round() and cv2 would take the even 4.
    assert build(ratio_range=(1.5, 1.5))(sample(3, 4))["img_shape"] == (5, 6)


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
@pytest.mark.parametrize("ratio", [0.5, 1.75])
def test_pixels_equal_the_library(backend, ratio):
    original = sample(24, 32)
    size = (int(32 * ratio), int(24 * ratio))
    if backend == "cv2":
        image = cv2.resize(original["img"], size, interpolation=cv2.INTER_LINEAR)
        mask = cv2.resize(original["gt_seg_map"], size, interpolation=cv2.INTER_NEAREST)
    else:
        image = Image.fromarray(original["img"]).resize(size, Image.Resampling.BILINEAR)
        mask = Image.fromarray(original["gt_seg_map"]).resize(size, Image.Resampling.NEAREST)
    result = build(ratio_range=(ratio, ratio), backend=backend)(original)
    np.testing.assert_array_equal(result["img"], np.asarray(image))
    np.testing.assert_array_equal(result["gt_seg_map"], np.asarray(mask))


def test_a_sample_without_mask_and_a_sliver_pass():
    original = sample(1, 40)
    del original["gt_seg_map"], original["seg_fields"]
    assert build(ratio_range=(0.1, 0.1))(original)["img_shape"] == (1, 4)


@pytest.mark.parametrize(
    "settings", [dict(ratio_range=(2.0, 0.5)), dict(ratio_range=(0, 1)), dict(keep_ratio=True)]
)
def test_bad_arguments_are_refused(settings):
    with pytest.raises(ConfigError, match=f"RandomRelativeResize: {next(iter(settings))}"):
        build(**settings)


# --- RandomCoveringResize -------------------------------------------------------------------------


def covering(**settings):
    options = dict(ratios=[0.5, 1.0, 1.5], crop_size=(20, 30))
    return TRANSFORMS.build(dict(type="RandomCoveringResize", **{**options, **settings}))


def test_factors_that_cover_the_crop_are_equally_likely():
    """40x60 at 0.5 is exactly the crop; 39x60 would be a row short (19.5 rounds up to 20)."""
    np.random.seed(0)
    shapes = [covering()(sample(40, 60))["img_shape"] for _ in range(600)]
    values, counts = np.unique(shapes, axis=0, return_counts=True)
    assert values.tolist() == [[20, 30], [40, 60], [60, 90]] and counts.min() > 160
    assert covering(ratios=[0.5])(sample(39, 60))["img_shape"] == (20, 30)
    np.random.seed(0)
    shapes = {covering()(sample(38, 60))["img_shape"] for _ in range(100)}
    assert shapes == {(38, 60), (57, 90)}


@pytest.mark.parametrize("size", [(19, 200), (200, 29), (10, 10)])
def test_an_image_that_never_covers_is_resized_straight_to_the_crop(size):
    """From the image itself, not from a scaled one; the mask by nearest neighbour."""
    original = sample(*size)
    image = cv2.resize(original["img"], (30, 20), interpolation=cv2.INTER_LINEAR)
    mask = cv2.resize(original["gt_seg_map"], (30, 20), interpolation=cv2.INTER_NEAREST)
    result = covering(ratios=[0.5, 1.0])(original)
    assert result["img_shape"] == (20, 30)
    np.testing.assert_array_equal(result["img"], image)
    np.testing.assert_array_equal(result["gt_seg_map"], mask)


def test_it_tries_so_often():
    """Of two factors one covers: after n tries 2^-n of the images are resized to the crop."""
    np.random.seed(0)
    one = covering(ratios=[0.5, 2.0], max_tries=2)
    shapes = [one(sample(15, 20))["img_shape"] for _ in range(400)]
    assert set(shapes) == {(30, 40), (20, 30)}
    assert 70 < shapes.count((20, 30)) < 130
    ten = covering(ratios=[0.5, 2.0])
    assert [ten(sample(15, 20))["img_shape"] for _ in range(50)].count((20, 30)) < 3


def test_one_number_is_a_square_crop():
    assert covering(crop_size=50)(sample(20, 40))["img_shape"] == (50, 50)


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        (dict(ratios=[]), r"ratios=\[\]"),
        (dict(ratios=[0, 1]), r"ratios=\[0, 1\]"),
        (dict(crop_size=(20,)), r"crop_size=\(20,\)"),
        (dict(max_tries=0), "max_tries=0"),
        (dict(scale=(3, 4)), "scale"),
    ],
)
def test_bad_arguments_of_the_covering_resize_are_refused(settings, value):
    with pytest.raises(ConfigError, match=f"RandomCoveringResize: .*{value}"):
        covering(**settings)
