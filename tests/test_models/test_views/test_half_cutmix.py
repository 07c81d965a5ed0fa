# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Rectangles of half the image. Known answers: docs/methods/u2pl.md#rectangles."""

from __future__ import annotations

import pytest
import torch
from recorded import make_recorded

from mmsemi.errors import ConfigError
from mmsemi.models.views import HalfCutMix
from mmsemi.models.views.half_cutmix import draw_half_boxes, half_height


def test_heights():
    for size, pairs in {
        513: ((257, 512), (300, 439), (400, 329), (512, 257)),
        769: ((385, 768), (500, 591), (768, 385)),
    }.items():
        for width, height in pairs:
            assert half_height(width, (size, size)) == height


@pytest.mark.parametrize("size", [(9, 9), (8, 8), (12, 7)])
def test_boxes_lie_inside_and_take_every_place(size):
    height, width = size
    boxes = draw_half_boxes(6000, size, torch.Generator().manual_seed(0))
    y0, x0, y1, x1 = boxes.unbind(1)
    widths = x1 - x0
    assert sorted(set(widths.tolist())) == list(range(width // 2 + 1, width))
    assert torch.equal(y1 - y0, torch.tensor([half_height(w, size) for w in widths.tolist()]))
    assert y0.min() == x0.min() == 0 and y1.max() == height and x1.max() == width
    narrow = widths == width // 2 + 1
    places = torch.bincount(x0[narrow], minlength=width - width // 2)
    assert (places / places.float().mean() - 1).abs().max() < 0.25


def test_a_batch_is_mixed_or_not():
    batch = make_recorded(None).batch
    batch.generator = torch.Generator().manual_seed(0)
    mix, mixed = HalfCutMix(), []
    for _ in range(400):
        (recipe,) = mix.draw(batch)
        ((mask, second),) = recipe.pastes
        areas = mask.flatten(1).float().mean(1)
        assert (areas == 0).all() or ((areas - 0.5).abs() < 0.05).all()
        assert (second != recipe.first).all()
        mixed.append(bool(areas.any()))
    assert 0.4 < sum(mixed) / 400 < 0.6
    states = []
    for prob in (0.0, 1.0):
        batch.generator = torch.Generator().manual_seed(3)
        (recipe,) = HalfCutMix(prob=prob).draw(batch)
        assert recipe.pastes[0].mask_B1HW.any() == (prob == 1)
        states.append(batch.generator.get_state())
    assert torch.equal(*states), "as many numbers are drawn either way"


def test_a_probability_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="prob=1.5"):
        HalfCutMix(prob=1.5)
