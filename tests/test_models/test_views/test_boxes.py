# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Single-box CutMix against the statistics and sizes of unimatch.md, known answer 7."""

from __future__ import annotations

import pytest
import torch
from mmseg.registry import MODELS

from mmsemi.models.augment import CutMix, SingleBoxCutMix, box_sizes, draw_single_boxes


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


def test_masks_are_the_boxes():
    masks = SingleBoxCutMix(prob=1.0).draw_masks(5, (40, 30), generator(3))
    boxes = draw_single_boxes(5, (40, 30), prob=1.0, generator=generator(3)).tolist()
    assert masks.shape == (5, 1, 40, 30) and masks.dtype == torch.bool
    for mask, (y0, x0, y1, x1) in zip(masks, boxes):
        assert mask.sum() == (y1 - y0) * (x1 - x0) > 0
        assert mask[0, y0:y1, x0:x1].all()


def test_masks_are_a_function_of_the_generator():
    cutmix = SingleBoxCutMix()
    assert torch.equal(
        cutmix.draw_masks(8, (32, 48), generator(5)), cutmix.draw_masks(8, (32, 48), generator(5))
    )
    assert not torch.equal(
        cutmix.draw_masks(8, (32, 48), generator(5)), cutmix.draw_masks(8, (32, 48), generator(6))
    )
    assert not cutmix.draw_masks(8, (32, 48), generator(5)).all()
    torch.manual_seed(5)
    assert torch.equal(cutmix.draw_masks(8, (32, 48)), cutmix.draw_masks(8, (32, 48), generator(5)))


@pytest.mark.parametrize(
    "settings",
    [dict(prob=0.0), dict(prob=1.0), dict(area_range=(0.39, 0.4)), dict(aspect_range=(1.0, 1.1))],
)
def test_the_number_of_draws_depends_on_the_batch_only(settings):
    """However often boxes were drawn anew, what follows is the same."""
    for seed in range(5):
        used, reference = generator(seed), generator(seed)
        SingleBoxCutMix(**settings).draw_masks(6, (33, 33), used)
        SingleBoxCutMix().draw_masks(6, (64, 80), reference)
        assert torch.equal(used.get_state(), reference.get_state())


def test_nothing_else_is_drawn_from():
    before = torch.get_rng_state()
    SingleBoxCutMix()(list("abcd"), (16, 16), generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_two_views_share_partners_but_not_boxes():
    cutmix, draws = MODELS.build(dict(type="SingleBoxCutMix", prob=1.0)), generator()
    first, second = cutmix.pair(list("abcd"), draws)
    masks = [cutmix.draw_masks(4, (32, 32), draws) for _ in range(2)]
    assert not torch.equal(*masks)
    recipe = cutmix(list("abcd"), (32, 32), generator())
    assert torch.equal(recipe.first, first) and torch.equal(recipe.second, second)
    assert torch.equal(recipe.mask_B1HW, masks[0])


@pytest.mark.parametrize("pairing", ["halves", "permute", "reverse"])
def test_pairs_are_those_of_cutmix(pairing):
    for pairs in zip(
        SingleBoxCutMix(pairing).pair(list("abcdef"), generator(2)),
        CutMix(pairing).pair(list("abcdef"), generator(2)),
    ):
        assert torch.equal(*pairs)


@pytest.mark.parametrize("num", [1, 2, 5])
def test_reverse_pairs_each_image_with_its_mirror(num):
    """With one image nothing is mixed; the middle one of an odd number is its own partner."""
    cutmix = SingleBoxCutMix("reverse", prob=1.0)
    images = torch.arange(float(num)).view(num, 1, 1, 1).expand(num, 3, 16, 16)
    recipe = cutmix(["a"] * num, (16, 16), generator())
    assert recipe.first.tolist() == list(range(num))
    assert recipe.second.tolist() == list(range(num))[::-1]
    mixed = recipe.apply(images)
    for i, image in enumerate(mixed):
        assert set(image.unique().tolist()) == {float(i), float(num - 1 - i)}


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match=r"SingleBoxCutMix got 0 .*at least 1.*num_per_source"):
        SingleBoxCutMix("reverse")([], (4, 4))


@pytest.mark.parametrize(
    "arguments",
    [
        dict(pairing="rotate"),
        dict(pairing="reverse", same_image=True),
        dict(prob=1.1),
        dict(area_range=(0.4, 0.02)),
        dict(area_range=(0.5, 1.0)),
        dict(aspect_range=(0.0, 1.0)),
    ],
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="SingleBoxCutMix"):
        SingleBoxCutMix(**arguments)


def test_boxes_that_never_fit_are_refused_instead_of_drawn_for_ever():
    with pytest.raises(ValueError, match="fit into a 20x400 image in 0.00% of the draws"):
        SingleBoxCutMix().draw_masks(4, (20, 400))
