# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Boxes of noise: sizes, shares, and that they lie inside."""

from __future__ import annotations

import pytest
import torch

from mmsemi.errors import ConfigError
from mmsemi.models.views import Cutout


@pytest.mark.parametrize(
    "area, aspect, side, width, height",
    [
        (0.2, 0.3 / 0.3 * 4, 321, 71, 287),
        (0.02, 0.3, 321, 82, 24),
        (0.4, 10 / 3, 321, 111, 370),
        (0.1, 1, 721, 227, 227),
        (0.02, 10 / 3, 721, 55, 186),
    ],
)
def test_sides(area, aspect, side, width, height):
    h, w = Cutout().sides(torch.tensor(area), torch.tensor(aspect), (side, side))
    assert abs(w - width) <= 1 and abs(h - height) <= 1
    exact = torch.tensor(area).double() * side**2
    assert h == int((exact * aspect) ** 0.5) and w == int((exact / aspect) ** 0.5)


def test_shares_of_accepted_boxes():
    """docs/methods/st_plus_plus.md: everything is drawn again, which favours small boxes."""
    boxes = Cutout(p=1).boxes(20_000, (321, 321), torch.Generator().manual_seed(0))
    y0, x0, y1, x1 = boxes.T
    assert (boxes >= 0).all() and (boxes <= 321).all()
    h, w = (y1 - y0).double(), (x1 - x0).double()
    assert (h * w / 321**2).mean().item() == pytest.approx(0.1415, abs=0.003)
    assert (h > w).double().mean().item() == pytest.approx(0.745, abs=0.012)
    assert (h / 321).mean().item() == pytest.approx(0.442, abs=0.006)
    assert (w / 321).mean().item() == pytest.approx(0.308, abs=0.006)


def test_probability_and_noise():
    images, generator = torch.zeros(400, 3, 16, 24), torch.Generator().manual_seed(0)
    mask, noise = Cutout(p=0.25).draw(images, generator)
    assert mask.any(2).any(1).float().mean().item() == pytest.approx(0.25, abs=0.07)
    assert noise.shape == images.shape and noise.min() == 0 and noise.max() == 254
    assert mask.shape == (400, 16, 24) and mask.dtype == torch.bool
    with pytest.raises(ConfigError):
        Cutout(p=1.5)
    with pytest.raises(ConfigError):
        Cutout(area=(0.4, 0.1))
