# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CutMix: masks against the reference's numbers, recipes against hand-made mixes, pairing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

from mmsemi.models.augment import (
    CutMix,
    MixRecipe,
    box_masks,
    boxes_from_uniforms,
    masks_from_boxes,
)


def reference_boxes(seed: int) -> torch.Tensor:
    """Boxes of two 64x64 masks from numpy's generator, in the reference's draw order."""
    random = np.random.RandomState(seed)
    area = random.uniform(0.25, 0.5, (2, 3))
    aspect = random.uniform(0, 1, (2, 3))
    position = random.uniform(0, 1, (2, 3, 2))
    return boxes_from_uniforms(*map(torch.from_numpy, (area, aspect, position)), (64, 64))


def test_boxes_equal_the_reference():
    """Boxes and pixel counts of cps.md, known answer K4."""
    boxes = reference_boxes(0)
    assert boxes.tolist() == [
        [[23, 39, 47, 61], [3, 3, 20, 37], [1, 23, 16, 59]],
        [[30, 37, 56, 58], [47, 27, 63, 57], [19, 31, 42, 55]],
    ]
    assert masks_from_boxes(boxes, (64, 64)).sum(dim=(1, 2, 3)).tolist() == [1282, 786]
    assert masks_from_boxes(reference_boxes(1), (64, 64)).sum(dim=(1, 2, 3)).tolist() == [750, 1145]


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
    masks = box_masks(1000, (64, 64), generator=torch.Generator().manual_seed(0))
    share = masks.float().mean(dim=(1, 2, 3))
    assert share.mean().item() == pytest.approx(0.251, abs=0.01)
    assert share.std().item() == pytest.approx(0.069, abs=0.01)


def test_one_box_has_the_area_that_was_asked_for():
    masks = box_masks(
        50, (100, 80), num_boxes=1, area_range=(0.5, 0.5), generator=torch.Generator()
    )
    share = masks.float().mean(dim=(1, 2, 3))
    torch.testing.assert_close(share, torch.full((50,), 0.5), atol=0.01, rtol=0)


def test_masks_are_a_function_of_the_generator():
    def draw(seed):
        return box_masks(3, (16, 24), generator=torch.Generator().manual_seed(seed))

    assert torch.equal(draw(5), draw(5))
    assert not torch.equal(draw(5), draw(6))
    torch.manual_seed(5)
    assert torch.equal(box_masks(3, (16, 24)), draw(5))


def test_recipe_mixes_images_as_the_reference():
    """Known answer K3a of cps.md."""
    first = torch.arange(1.0, 13).view(1, 3, 2, 2)
    mask = torch.tensor([[[[False, True], [False, False]]]])
    recipe = MixRecipe(mask, torch.tensor([0]), torch.tensor([1]))
    mixed = recipe.to("cpu").apply(torch.cat([first, -first]))
    assert mixed.tolist() == [[[[1, -2], [3, 4]], [[5, -6], [7, 8]], [[9, -10], [11, 12]]]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.float16])
def test_recipe_mixes_maps_of_any_dtype(dtype):
    maps = torch.stack([torch.zeros(2, 3), torch.ones(2, 3)]).to(dtype)
    mask = torch.rand(2, 1, 2, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    mixed = MixRecipe(mask, torch.tensor([0, 1]), torch.tensor([1, 0])).apply(maps)
    assert mixed.dtype == dtype
    assert torch.equal(mixed[0].bool(), mask[0, 0])
    assert torch.equal(mixed[1].bool(), ~mask[1, 0])


def test_halves_pair_the_two_streams():
    recipe = MODELS.build(dict(type="CutMix"))(list("abcdef"), (8, 12), torch.Generator())
    assert recipe.first.tolist() == [0, 1, 2]
    assert recipe.second.tolist() == [3, 4, 5]
    assert recipe.mask_B1HW.shape == (3, 1, 8, 12)


def test_halves_rotate_past_equal_images():
    recipe = CutMix()(["a", "b", "c", "a", "x", "y"], (8, 8))
    assert recipe.second.tolist() == [4, 5, 3]
    # No rotation is free of equal images here: take the one with the fewest.
    recipe = CutMix()(["a", "a", "b", "a", "c", "d"], (8, 8))
    assert recipe.second.tolist() == [4, 5, 3]
    recipe = CutMix()(["a", "a", "a", "c"], (8, 8))
    assert recipe.second.tolist() == [2, 3]


def test_permute_pairs_every_image_with_another():
    paths = ["a", "a", "b", "c", "d", "e"]
    seen = set()
    for seed in range(30):
        recipe = CutMix(pairing="permute")(paths, (4, 4), torch.Generator().manual_seed(seed))
        assert recipe.first.tolist() == list(range(6))
        assert sorted(recipe.second.tolist()) == list(range(6))
        assert all(paths[i] != paths[j] for i, j in enumerate(recipe.second.tolist()))
        seen.add(tuple(recipe.second.tolist()))
    assert len(seen) > 15


def test_same_image_pairs_two_draws_of_one_image():
    cutmix = CutMix(same_image=True)
    assert cutmix(["a", "b", "a", "b"], (4, 4)).second.tolist() == [2, 3]
    with pytest.raises(ValueError, match=r"copies=dict\(unlabeled=2\)"):
        cutmix(["a", "b", "b", "a"], (4, 4))


@pytest.mark.parametrize(
    ("pairing", "paths"), [("halves", ["a"]), ("halves", list("abc")), ("permute", ["a"])]
)
def test_too_few_images_name_the_number_to_change(pairing, paths):
    with pytest.raises(ValueError, match=r"sampler\.num_per_source\.unlabeled"):
        CutMix(pairing=pairing)(paths, (4, 4))


@pytest.mark.parametrize(
    "arguments",
    [
        dict(pairing="rotate"),
        dict(pairing="permute", same_image=True),
        dict(num_boxes=0),
        dict(area_range=(0.5, 0.25)),
        dict(area_range=(0.0, 0.5)),
    ],
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="CutMix"):
        CutMix(**arguments)
