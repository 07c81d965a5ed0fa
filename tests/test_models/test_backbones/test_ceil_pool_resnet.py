# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The grids of the published DeepLabv2."""

from __future__ import annotations

import pytest
import torch
from mmseg.registry import MODELS

RESNET = dict(
    depth=18,
    base_channels=2,
    stem_channels=2,
    strides=(1, 2, 1, 1),
    dilations=(1, 1, 2, 4),
    norm_cfg=dict(type="BN", requires_grad=False),
    init_cfg=None,
)


@pytest.mark.parametrize("deep_stem", [False, True])
@pytest.mark.parametrize(
    ("size", "grid", "stock"),
    [((321, 321), (41, 41), (41, 41)), ((256, 512), (33, 65), (32, 64))],
)
def test_grid(size, grid, stock, deep_stem) -> None:
    torch.manual_seed(0)
    ours = MODELS.build(dict(type="CeilPoolResNet", deep_stem=deep_stem, **RESNET))
    theirs = MODELS.build(dict(type="ResNet", deep_stem=deep_stem, **RESNET))
    ours.eval(), theirs.eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        found, expected = ours(x)[-1], theirs(x)[-1]
    assert found.shape[-2:] == grid and expected.shape[-2:] == stock
    assert torch.equal(found, expected) == (grid == stock)
