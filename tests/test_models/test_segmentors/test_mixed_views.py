# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Student views as a method draws them: strong, mixed, several, and a function of the draws."""

from __future__ import annotations

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmsemi.errors import ConfigError
from mmsemi.structures import SemiBatch

STRONG = dict(type="StrongPhotometric", p_jitter=1.0)
SINGLE_BOX = dict(type="SingleBoxCutMix", prob=1.0)


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(**settings):
        networks = dict(segmentor=segmentor_config, data_preprocessor=preprocessor_config)
        return MODELS.build(dict(type="FixMatch", **networks, **settings))

    return make


def make_batch(model, seed: int = 10, num_images: int = 4) -> SemiBatch:
    """One labelled and some unlabelled images, the second one padded."""
    samples = []
    for i in range(num_images + 1):
        size = (3, 28 if i == 2 else 32, 32)
        pixels = torch.randint(0, 256, size, generator=torch.Generator().manual_seed(seed + i))
        source = "unlabeled" if i else "labeled"
        sample = SegDataSample(
            metainfo=dict(img_path=f"{i}.png", source=source, draw_seed=seed + i)
        )
        if not i:
            sample.gt_sem_seg = PixelData(data=pixels[:1].to(torch.uint8) % 3)
        samples.append(dict(inputs=pixels.to(torch.uint8), data_samples=sample))
    return model.data_preprocessor(pseudo_collate(samples), training=True)["inputs"]


@pytest.mark.parametrize("pairing", ["halves", "permute", "reverse"])
def test_several_views_share_pairs_and_have_boxes_of_their_own(build, pairing):
    model = build(mix=dict(SINGLE_BOX, pairing=pairing))
    batch = make_batch(model)
    weak = batch.unlabeled.pixels_NCHW
    student, recipe = model.mixed_views(batch, 3)
    (paste,) = recipe.pastes
    num = 2 if pairing == "halves" else 4
    assert len(weak) == 4 and len(student) == len(recipe.first) == 3 * num
    assert model.num_mixed(batch.unlabeled) == num
    for indices in (recipe.first, paste.index_B):
        assert torch.equal(indices, indices[:num].repeat(3)), "view after view"
    assert recipe.first[:num].tolist() == list(range(num))
    masks = paste.mask_B1HW.chunk(3)
    assert not torch.equal(masks[0], masks[1]) and not torch.equal(masks[1], masks[2])
    for view, mask in zip(student.chunk(3), masks):
        want = torch.where(mask, weak[paste.index_B[:num]], weak[recipe.first[:num]])
        assert torch.equal(view, want)


def test_several_strong_views_differ_and_leave_weak_view_and_padding_alone(build):
    model = build(strong=STRONG)
    batch, plain = make_batch(model), make_batch(model)
    student, recipe = model.mixed_views(batch, 2)
    assert recipe.pastes == [] and len(student) == 8
    assert recipe.first.tolist() == [0, 1, 2, 3] * 2
    first, second = student.chunk(2)
    weak = batch.unlabeled.pixels_NCHW
    assert all(not torch.equal(a, b) for a, b in zip(first, second))
    assert all(not torch.equal(a, b) for a, b in zip(first, weak))
    assert torch.equal(weak, plain.unlabeled.pixels_NCHW)
    assert torch.equal(batch.unlabeled.valid_NHW, plain.unlabeled.valid_NHW)
    assert all((view[1, :, 28:] == 0).all() for view in (first, second))


def test_without_operation_the_view_is_the_weak_one(build):
    model = build()
    batch = make_batch(model)
    student, recipe = model.mixed_views(batch)
    assert torch.equal(student, batch.unlabeled.pixels_NCHW) and recipe.pastes == []
    assert model.num_mixed(batch.unlabeled) == 4
    assert model.strong_view(batch.unlabeled, batch) is batch.unlabeled.pixels_NCHW


def test_all_views_are_drawn_then_the_pairs_then_the_boxes(build):
    """The recorded curves hang on this order."""
    model = build(strong=STRONG, mix=dict(SINGLE_BOX, pairing="permute"))
    batch, again = make_batch(model), make_batch(model)
    student, recipe = model.mixed_views(batch, 2)
    views = [
        model.data_preprocessor.photometric_view(again.unlabeled, model.strong, again.generator)
        for _ in range(2)
    ]
    recipes = model.mix.draw(again, 2)
    for view, drawn, found in zip(views, recipes, student.chunk(2)):
        assert torch.equal(drawn.apply(view), found)
    boxes = torch.cat([drawn.pastes[0].mask_B1HW for drawn in recipes])
    assert torch.equal(boxes, recipe.pastes[0].mask_B1HW)


@pytest.mark.parametrize("strong", [None, STRONG])
def test_views_are_a_function_of_the_draws(build, strong):
    model = build(strong=strong, mix=SINGLE_BOX)

    def views(seed: int) -> tuple:
        student, recipe = model.mixed_views(make_batch(model, seed), 2)
        return student, recipe.pastes[0].mask_B1HW

    torch.manual_seed(1)
    first = views(10)
    torch.manual_seed(2)
    again, other = views(10), views(20)
    for ours, same, another in zip(first, again, other):
        assert torch.equal(ours, same) and not torch.equal(ours, another)


def test_one_unlabelled_image_cannot_be_mixed(build):
    model = build(mix=dict(type="CutMix"))
    with pytest.raises(ConfigError, match=r"CutMix .*num_per_source\.unlabeled"):
        model.mixed_views(make_batch(model, num_images=1))
