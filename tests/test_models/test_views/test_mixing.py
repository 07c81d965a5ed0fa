# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Recipes against hand-made mixes, and pairing. The masks of each mix have files of their own."""

from __future__ import annotations

import re

import pytest
import torch
from mmseg.registry import MODELS
from recorded import make_images

from mmsemi.errors import ConfigError
from mmsemi.models.views import CutMix, MixRecipe, Paste, SingleBoxCutMix
from mmsemi.structures import PseudoLabels, SemiBatch

MIXES = ["CutMix", "SingleBoxCutMix", "ClassMix", "LabelPaste"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(mix, num: int = 4, num_views: int = 1, seed: int = 0, device: str = "cpu"):
    """Recipes for unlabelled images of 32x48, of which a network of 3 classes knows nothing."""
    images, labels = torch.zeros(num, 3, 32, 48, device=device), torch.zeros(num, 32, 48)
    pseudo = PseudoLabels(labels.long().to(device), labels.to(device), labels[:, 0, 0].to(device))
    batch = SemiBatch(make_images(images), make_images(images), generator=generator(seed))
    return mix.draw(batch, num_views, pseudo, 3)


# --- Recipes --------------------------------------------------------------------------------------


def paste(mask: torch.Tensor, *index: int) -> Paste:
    return Paste(mask, torch.tensor(index))


def test_recipe_mixes_images_as_the_reference():
    """Known answer docs/methods/cps.md#mixed-images-and-labels."""
    first = torch.arange(1.0, 13).view(1, 3, 2, 2)
    mask = torch.tensor([[[[False, True], [False, False]]]])
    recipe = MixRecipe(torch.tensor([0]), [paste(mask, 1)])
    mixed = recipe.to("cpu").apply(torch.cat([first, -first]))
    assert mixed.tolist() == [[[[1, -2], [3, 4]], [[5, -6], [7, 8]], [[9, -10], [11, 12]]]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.float16])
def test_recipe_mixes_maps_of_any_dtype(dtype):
    maps = torch.stack([torch.zeros(2, 3), torch.ones(2, 3)]).to(dtype)
    mask = torch.rand(2, 1, 2, 3, generator=generator()) < 0.5
    mixed = MixRecipe(torch.tensor([0, 1]), [paste(mask, 1, 0)]).apply(maps)
    assert mixed.dtype == dtype
    assert torch.equal(mixed[0].bool(), mask[0, 0])
    assert torch.equal(mixed[1].bool(), ~mask[1, 0])


def row(*pixels: int | bool) -> torch.Tensor:
    return torch.tensor(pixels).view(1, 1, 1, -1)


#: Of images of 1 x 5 pixels: image 1, with image 0 on it in columns 0-2, and labelled image 1 on
#: both in columns 2-3.
LAYERS = MixRecipe(
    torch.tensor([1]),
    [paste(row(1, 1, 1, 0, 0).bool(), 0), paste(row(0, 0, 1, 1, 0).bool(), 3)],
    uses_labeled=True,
)


def test_layers_lie_one_above_the_other():
    x = torch.tensor([10, 20]).view(2, 1, 1, 1).expand(2, 3, 1, 5)
    labeled = torch.tensor([30, 40]).view(2, 1, 1, 1).expand(2, 3, 1, 5)
    assert LAYERS.apply(x, labeled=labeled)[0, :, 0].tolist() == [[10, 10, 40, 40, 20]] * 3
    pasted = LAYERS.apply(x[:, 0], -x[:, 0], labeled[:, 0])
    assert pasted.tolist() == [[[-10, -10, 40, 40, 20]]]


def test_labels_of_a_mix():
    """True labels have confidence 1; padding of what is shown, and of nothing else, is ignored."""
    unlabeled, labeled = (make_images(torch.zeros(2, 3, 1, 5)) for _ in range(2))
    unlabeled.valid_NHW[0, 0, 1:3] = False
    labeled.valid_NHW[1, 0, 3:] = False
    labeled.labels_NHW = torch.tensor([[[0] * 5], [[2, 2, 1, 255, 255]]])
    pseudo = PseudoLabels(torch.tensor([[[3] * 5], [[4] * 5]]), torch.full((2, 1, 5), 0.5))
    pasted = PseudoLabels(torch.tensor([[[5] * 5], [[6] * 5]]), torch.full((2, 1, 5), 0.25))
    batch = SemiBatch(labeled, unlabeled)
    label, confidence, _ = LAYERS.apply_labels(pseudo, batch)
    assert label.tolist() == [[[3, 255, 1, 255, 4]]]
    assert confidence.tolist() == [[[0.5, 0.5, 1, 1, 0.5]]]
    label, confidence, _ = LAYERS.apply_labels(pseudo, batch, pasted, ignore_index=99)
    assert label.tolist() == [[[5, 99, 1, 99, 4]]]
    assert confidence.tolist() == [[[0.25, 0.25, 1, 1, 0.5]]]


def test_recipes_of_several_views_are_one():
    masks = torch.rand(3, 2, 1, 2, 3, generator=generator()) < 0.5
    pairs = [(0, 1), (1, 0), (1, 1)]
    recipes = [
        MixRecipe(torch.tensor([0, 1]), [paste(mask, *pair), paste(~mask, 2, 3)], uses_labeled=True)
        for mask, pair in zip(masks, pairs)
    ]
    x = torch.rand(2, 3, 2, 3, generator=generator(1))
    apart = torch.cat([recipe.apply(x, labeled=-x) for recipe in recipes])
    together = MixRecipe.concatenate(recipes)
    assert torch.equal(together.apply(x, labeled=-x), apart)
    assert together.first.tolist() == [0, 1, 0, 1, 0, 1]
    assert MixRecipe.concatenate(recipes[:1]) is recipes[0]


def test_images_that_are_not_mixed_stay():
    images = make_images(torch.rand(3, 3, 2, 3))
    recipe = MixRecipe.concatenate([MixRecipe.unmixed(images)] * 2)
    assert torch.equal(recipe.apply(images.pixels_NCHW), images.pixels_NCHW.repeat(2, 1, 1, 1))


@pytest.mark.parametrize("kind", MIXES)
def test_nothing_is_read_back_to_the_host(kind):
    """Tensors without data refuse every host read: `.item()`, `nonzero`, boolean indexing."""
    (recipe,) = draw(MODELS.build(dict(type=kind, pairing="permute")), device="meta")
    images = torch.empty(4, 3, 32, 48, device="meta")
    assert recipe.apply(images, labeled=images).shape == (4, 3, 32, 48)


# --- Draws ----------------------------------------------------------------------------------------


def test_draw_pairs_first_and_draws_masks_of_each_view_then():
    mix = MODELS.build(dict(type="SingleBoxCutMix", prob=1.0))
    images = make_images(torch.zeros(4, 3, 32, 32))
    batch = SemiBatch(images, images, generator=generator())
    first, second = mix.pair(images.paths, batch.generator)
    masks = [mix.draw_masks(second, batch) for _ in range(2)]
    assert not torch.equal(*masks)
    batch.generator = generator()
    for recipe, mask in zip(mix.draw(batch, num_views=2), masks, strict=True):
        assert torch.equal(recipe.first, first) and torch.equal(recipe.pastes[0].index_B, second)
        assert torch.equal(recipe.pastes[0].mask_B1HW, mask)


@pytest.mark.parametrize("kind", MIXES)
def test_nothing_but_the_batch_s_generator_is_drawn_from(kind):
    mix = MODELS.build(dict(type=kind, pairing="permute"))
    before = torch.get_rng_state()
    found = []
    for seed in (3, 3, 4):
        recipes = draw(mix, num_views=2, seed=seed)
        parts = [part for recipe in recipes for layer in recipe.pastes for part in layer]
        found.append(torch.cat([part.flatten() for part in parts]))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[1], found[2])


# --- Pairing --------------------------------------------------------------------------------------


def test_halves_pair_the_two_streams():
    mix = MODELS.build(dict(type="CutMix"))
    (recipe,) = draw(mix, num=6)
    assert recipe.first.tolist() == [0, 1, 2] and mix.num_mixed(6) == 3
    ((mask, second),) = recipe.pastes
    assert second.tolist() == [3, 4, 5]
    assert mask.shape == (3, 1, 32, 48)


@pytest.mark.parametrize(
    ("paths", "second"),
    [
        (["a", "b", "c", "a", "x", "y"], [4, 5, 3]),
        # No rotation is free of equal images here: take the one with the fewest.
        (["a", "a", "b", "a", "c", "d"], [4, 5, 3]),
        (["a", "a", "a", "c"], [2, 3]),
    ],
)
def test_halves_rotate_past_equal_images(paths, second):
    assert CutMix().pair(paths)[1].tolist() == second


def test_permute_pairs_every_image_with_another():
    paths = ["a", "a", "b", "c", "d", "e"]
    seen, mix = set(), CutMix(pairing="permute")
    for seed in range(30):
        first, second = mix.pair(paths, generator(seed))
        assert first.tolist() == list(range(6))
        assert sorted(second.tolist()) == list(range(6))
        assert all(paths[i] != paths[j] for i, j in enumerate(second.tolist()))
        seen.add(tuple(second.tolist()))
    assert len(seen) > 15 and mix.num_mixed(6) == 6


@pytest.mark.parametrize("num", [1, 2, 5])
def test_reverse_pairs_each_image_with_its_mirror(num):
    """With one image nothing is mixed; the middle one of an odd number is pasted on itself."""
    (recipe,) = draw(SingleBoxCutMix("reverse", prob=1.0), num)
    assert recipe.first.tolist() == list(range(num))
    assert recipe.pastes[0].index_B.tolist() == list(range(num))[::-1]
    mixed = recipe.apply(torch.arange(float(num)).view(num, 1, 1, 1).expand(num, 3, 32, 48))
    for i, image in enumerate(mixed):
        assert set(image.unique().tolist()) == {float(i), float(num - 1 - i)}


@pytest.mark.parametrize("pairing", ["halves", "permute", "reverse"])
def test_pairs_are_those_of_every_mix(pairing):
    for pairs in zip(
        SingleBoxCutMix(pairing).pair(list("abcdef"), generator(2)),
        CutMix(pairing).pair(list("abcdef"), generator(2)),
    ):
        assert torch.equal(*pairs)


def test_same_image_pairs_two_draws_of_one_image():
    cutmix = CutMix(same_image=True)
    assert cutmix.pair(["a", "b", "a", "b"])[1].tolist() == [2, 3]
    with pytest.raises(ConfigError, match=r"same_image=True.* a and b.*copies"):
        cutmix.pair(["a", "b", "b", "a"])


@pytest.mark.parametrize(
    ("pairing", "paths"),
    [("halves", "a"), ("halves", "abc"), ("halves", ""), ("permute", "a"), ("reverse", "")],
)
def test_too_few_images_name_the_number_to_change(pairing, paths):
    with pytest.raises(ConfigError, match=rf" {len(paths)} .*num_per_source\.unlabeled"):
        CutMix(pairing=pairing).pair(list(paths))


@pytest.mark.parametrize("kind", ["CutMix", "SingleBoxCutMix", "ClassMix"])
@pytest.mark.parametrize(
    "arguments",
    [
        dict(pairing="rotate"),
        dict(pairing="permute", same_image=True),
        dict(pairing="reverse", same_image=True),
    ],
)
def test_pairs_that_no_batch_has_are_refused(kind, arguments):
    name, value = list(arguments.items())[-1]
    with pytest.raises(ConfigError, match=re.escape(f"{kind}: {name}={value!r}")):
        MODELS.build(dict(type=kind, **arguments))
