# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Masks of several boxes and of one: the references' numbers, sizes and statistics."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from recorded import make_images

from mmsemi.errors import ConfigError
from mmsemi.models.views import CutMix, SingleBoxCutMix
from mmsemi.models.views.cutmix import (
    box_masks,
    box_sizes,
    boxes_from_uniforms,
    draw_single_boxes,
    masks_from_boxes,
)
from mmsemi.structures import SemiBatch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw_masks(mix, num, size_hw, draws: torch.Generator | None = None) -> torch.Tensor:
    """Masks for that number of pairs."""
    images = make_images(torch.zeros(num, 3, *size_hw))
    return mix.draw_masks(torch.arange(num), SemiBatch(images, images, generator=draws))


# --- Several boxes: docs/methods/cps.md#boxes -----------------------------------------------------


def reference_boxes(seed: int) -> torch.Tensor:
    """Boxes of two 64x64 masks from numpy's generator, in the reference's draw order."""
    random = np.random.RandomState(seed)
    area = random.uniform(0.25, 0.5, (2, 3))
    aspect = random.uniform(0, 1, (2, 3))
    position = random.uniform(0, 1, (2, 3, 2))
    return boxes_from_uniforms(*map(torch.from_numpy, (area, aspect, position)), (64, 64))


def test_boxes_equal_the_reference():
    boxes = reference_boxes(0)
    assert boxes.tolist() == [
        [[23, 39, 47, 61], [3, 3, 20, 37], [1, 23, 16, 59]],
        [[30, 37, 56, 58], [47, 27, 63, 57], [19, 31, 42, 55]],
    ]
    assert masks_from_boxes(boxes, (64, 64)).sum(dim=(1, 2, 3)).tolist() == [1282, 786]
    assert masks_from_boxes(reference_boxes(1), (64, 64)).sum(dim=(1, 2, 3)).tolist() == [750, 1145]


def test_one_box_of_half_the_image_equals_the_reference():
    """Known answer docs/methods/cutmix_mean_teacher.md#mask: RandomState(0), one 32x32 mask."""
    random = np.random.RandomState(0)
    area = random.uniform(0.5, 0.5, (1, 1))
    aspect = random.uniform(0, 1, (1, 1))
    position = random.uniform(0, 1, (1, 1, 2))
    boxes = boxes_from_uniforms(*map(torch.from_numpy, (area, aspect, position)), (32, 32))
    assert boxes.tolist() == [[[8, 3, 27, 29]]]
    assert masks_from_boxes(boxes, (32, 32)).sum() == 494


def test_masks_toggle_pixel_by_pixel():
    boxes = torch.tensor([[[0, 0, 2, 3], [1, 1, 3, 4], [1, 2, 2, 3]]])
    expected = np.zeros((4, 5), dtype=bool)
    for y0, x0, y1, x1 in boxes[0].tolist():
        expected[y0:y1, x0:x1] ^= True
    mask = masks_from_boxes(boxes, (4, 5))
    assert mask.shape == (1, 1, 4, 5)
    assert mask.dtype == torch.bool
    np.testing.assert_array_equal(mask[0, 0].numpy(), expected)


def test_box_masks_cover_what_the_paper_says():
    masks = box_masks(1000, (64, 64), generator=generator())
    share = masks.float().mean(dim=(1, 2, 3))
    assert share.mean().item() == pytest.approx(0.251, abs=0.01)
    assert share.std().item() == pytest.approx(0.069, abs=0.01)


def test_one_box_has_the_area_that_was_asked_for():
    masks = box_masks(50, (100, 80), num_boxes=1, area_range=(0.5, 0.5), generator=generator())
    share = masks.float().mean(dim=(1, 2, 3))
    torch.testing.assert_close(share, torch.full((50,), 0.5), atol=0.01, rtol=0)


def test_the_mix_draws_the_masks_of_its_arguments():
    mix = CutMix(num_boxes=2, area_range=(0.1, 0.3))
    masks = draw_masks(mix, 5, (16, 24), generator(5))
    expected = box_masks(5, (16, 24), num_boxes=2, area_range=(0.1, 0.3), generator=generator(5))
    assert torch.equal(masks, expected) and masks.any()


# --- One box or none: docs/methods/unimatch.md#boxes ----------------------------------------------


@pytest.mark.parametrize(
    ("area", "aspect", "side", "expected"),
    [(0.2, 2, 321, (101, 203)), (0.4, 0.5, 518, (463, 231)), (0.02, 10 / 3, 801, (62, 206))],
)
def test_sizes_equal_the_reference(area, aspect, side, expected):
    area = torch.tensor(area, dtype=torch.float64) * side**2
    width, height = box_sizes(area, torch.tensor(aspect, dtype=torch.float64))
    assert (width.item(), height.item()) == expected


def test_statistics_equal_the_reference():
    """Means of 50000 boxes; the tolerances are about four standard errors."""
    side, num = 321, 100_000
    y0, x0, y1, x1 = draw_single_boxes(num, (side, side), generator=generator()).unbind(dim=1)
    has_box = y1 > y0
    assert has_box.double().mean().item() == pytest.approx(0.499, abs=0.007)
    y0, x0, y1, x1 = (edge[has_box] for edge in (y0, x0, y1, x1))
    height, width = (y1 - y0).double() / side, (x1 - x0).double() / side
    assert min(y0.min(), x0.min()) == 0 and max(y1.max(), x1.max()) == side
    assert (height * width).mean().item() == pytest.approx(0.208, abs=0.002)
    assert (height * width).std().item() == pytest.approx(0.109, abs=0.002)
    assert (height > width).double().mean().item() == pytest.approx(0.732, abs=0.008)
    assert height.mean().item() == pytest.approx(0.531, abs=0.004)
    assert width.mean().item() == pytest.approx(0.386, abs=0.004)
    middle = side // 2
    at_centre = (y0 <= middle) & (middle < y1) & (x0 <= middle) & (middle < x1)
    assert at_centre.double().mean().item() == pytest.approx(0.509, abs=0.009)
    assert ((y0 == 0) & (x0 == 0)).double().mean() < 1e-3


def test_candidates_are_as_good_as_drawing_one_by_one():
    """Aspects and corners of the kept boxes follow a plain rejection loop at one area."""
    side, area = 100, 0.35
    boxes = draw_single_boxes(
        20_000, (side, side), prob=1.0, area_range=(area, area), generator=generator()
    )
    own, sizes = generator(1), []
    while len(sizes) < 2000:
        aspect, x, y = torch.rand(3, dtype=torch.float64, generator=own).tolist()
        aspect = 0.3 + (1 / 0.3 - 0.3) * aspect
        width, height = int((area * side**2 / aspect) ** 0.5), int((area * side**2 * aspect) ** 0.5)
        if int(x * side) + width <= side and int(y * side) + height <= side:
            sizes.append((height, width, int(y * side), int(x * side)))
    expected = torch.tensor(sizes).double()
    result = torch.cat([boxes[:, 2:] - boxes[:, :2], boxes[:, :2]], dim=1).double()
    error = 4 * (expected.var(dim=0) / 2000 + result.var(dim=0) / 20_000).sqrt()
    assert ((result.mean(dim=0) - expected.mean(dim=0)).abs() < error).all()


@pytest.mark.parametrize("size_hw", [(60, 120), (120, 60)])
def test_boxes_of_oblong_images_keep_area_and_aspect(size_hw):
    boxes = draw_single_boxes(
        500, size_hw, prob=1, area_range=(0.2, 0.2), aspect_range=(1, 1), generator=generator()
    )
    assert boxes[:, 2].max() <= size_hw[0] and boxes[:, 3].max() <= size_hw[1]
    assert (boxes[:, 2:] - boxes[:, :2]).unique().tolist() == [37]  # floor(sqrt(.2 * 7200))


@pytest.mark.parametrize("shape", [dict(), dict(area_range=(0.1, 0.2), aspect_range=(1, 1.5))])
def test_masks_are_the_boxes(shape):
    masks = draw_masks(SingleBoxCutMix(prob=1.0, **shape), 5, (40, 30), generator(3))
    boxes = draw_single_boxes(5, (40, 30), prob=1.0, generator=generator(3), **shape).tolist()
    assert masks.shape == (5, 1, 40, 30) and masks.dtype == torch.bool
    for mask, (y0, x0, y1, x1) in zip(masks, boxes):
        assert mask.sum() == (y1 - y0) * (x1 - x0) > 0
        assert mask[0, y0:y1, x0:x1].all()


@pytest.mark.parametrize(
    "settings",
    [dict(prob=0.0), dict(prob=1.0), dict(area_range=(0.39, 0.4)), dict(aspect_range=(1.0, 1.1))],
)
def test_the_number_of_draws_depends_on_the_batch_only(settings):
    """However often boxes were drawn anew, what follows is the same."""
    for seed in range(5):
        used, reference = generator(seed), generator(seed)
        draw_masks(SingleBoxCutMix(**settings), 6, (33, 33), used)
        draw_masks(SingleBoxCutMix(), 6, (64, 80), reference)
        assert torch.equal(used.get_state(), reference.get_state())


def test_boxes_that_never_fit_are_refused_instead_of_drawn_for_ever():
    with pytest.raises(ConfigError, match=r"SingleBoxCutMix.* 20x400 .* 0\.00%.*area_range"):
        draw_masks(SingleBoxCutMix(), 4, (20, 400))


# --- Both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mix", [CutMix(), SingleBoxCutMix()])
def test_masks_are_a_function_of_the_generator(mix):
    def draw(seed):
        return draw_masks(mix, 8, (32, 48), generator(seed))

    assert torch.equal(draw(5), draw(5))
    assert not torch.equal(draw(5), draw(6))
    assert draw(5).any() and not draw(5).all()
    torch.manual_seed(5)
    assert torch.equal(draw_masks(mix, 8, (32, 48)), draw(5))


@pytest.mark.parametrize(
    ("mix", "arguments"),
    [
        (CutMix, dict(num_boxes=0)),
        (CutMix, dict(area_range=(0.5, 0.25))),
        (CutMix, dict(area_range=(0.0, 0.5))),
        (SingleBoxCutMix, dict(prob=1.1)),
        (SingleBoxCutMix, dict(area_range=(0.4, 0.02))),
        (SingleBoxCutMix, dict(area_range=(0.5, 1.0))),
        (SingleBoxCutMix, dict(aspect_range=(0.0, 1.0))),
    ],
)
def test_bad_arguments_are_refused(mix, arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ConfigError, match=re.escape(f"{mix.__name__}: {name}={value}")):
        mix(**arguments)
