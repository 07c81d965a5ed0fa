# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The DPT head of UniMatch V2: published parameters and grids, values by a plain recomputation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmsemi.errors import ConfigError
from mmsemi.models import DINOv2DPTHead
from mmsemi.models.backbones import DINOv2
from mmsemi.models.forward import computes_stock_loss, gives_per_pixel_logits

SIZES = dict(
    small=dict(in_channels=384, channels=64, reassemble_channels=(48, 96, 192, 384)),
    base=dict(in_channels=768, channels=128, reassemble_channels=(96, 192, 384, 768)),
)


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("size", "classes", "published"),
    [("small", 21, 24_795_637), ("base", 21, 97_528_789), ("base", 150, 97_545_430)],
)
def test_published_parameters(size, classes, published):
    """All but those that nothing trains: the mask token and the unit without a skip."""
    with torch.device("meta"):
        encoder = DINOv2(size)
        head = DINOv2DPTHead(**SIZES[size], num_classes=classes)
    unused = encoder.embed_dims + count(head.fusions[0].skip)
    assert count(encoder) + count(head) + unused == published


def test_published_grids():
    with torch.device("meta"):
        head = DINOv2DPTHead(**SIZES["small"], num_classes=21)
        for side, logits in ((37, 296), (57, 456)):
            maps = [torch.empty(1, 384, side, side)] * 4
            assert head(maps).shape == (1, 21, logits, logits)


def plain(head: DINOv2DPTHead, maps: list[torch.Tensor]) -> torch.Tensor:
    """Section 7 of the paper's description once more, from functions and named tensors."""
    p = dict(head.named_parameters())

    def conv(x, name, **kwargs):
        return F.conv2d(x, p[f"{name}.weight"], p.get(f"{name}.bias"), **kwargs)

    def unit(x, name):
        inner = conv(x.relu(), f"{name}.conv1", padding=1).relu()
        return conv(inner, f"{name}.conv2", padding=1) + x

    levels = [conv(x, f"reassemble.{i}") for i, x in enumerate(maps)]
    for i, stride in ((0, 4), (1, 2)):
        weight, bias = p[f"resize.{i}.weight"], p[f"resize.{i}.bias"]
        levels[i] = F.conv_transpose2d(levels[i], weight, bias, stride=stride)
    levels[3] = conv(levels[3], "resize.3", stride=2, padding=1)
    levels = [conv(x, f"narrow.{i}", padding=1) for i, x in enumerate(levels)]
    sizes = [x.shape[-2:] for x in levels]
    x = unit(levels[3], "fusions.3.refine")
    for i in (2, 1, 0):
        x = F.interpolate(x, sizes[i], mode="bilinear", align_corners=True)
        x = conv(x, f"fusions.{i + 1}.project") + unit(levels[i], f"fusions.{i}.skip")
        x = unit(x, f"fusions.{i}.refine")
    double = [2 * side for side in sizes[0]]
    x = F.interpolate(x, double, mode="bilinear", align_corners=True)
    x = conv(conv(x, "fusions.0.project"), "out_conv", padding=1).relu()
    return conv(x, "conv_seg")


def test_values_and_gradients():
    torch.manual_seed(0)
    head = DINOv2DPTHead(8, 4, reassemble_channels=(2, 3, 4, 5), num_classes=3)
    head.init_weights()
    maps = [torch.randn(2, 8, 5, 7) for _ in range(4)]
    logits = head(maps)
    assert logits.shape == (2, 3, 40, 56)
    torch.testing.assert_close(logits, plain(head, maps))
    logits.square().sum().backward()
    assert all(p.grad is not None for p in head.parameters())
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in head.modules())


def test_weights_start_as_torch_draws_them():
    head = DINOv2DPTHead(8, 64, reassemble_channels=(8, 8, 8, 8), num_classes=21)
    head.init_weights()
    bound = 1 / 64**0.5  # of a 1x1 convolution from 64 channels
    weights = head.conv_seg.weight
    assert 0.9 * bound < weights.abs().max() <= bound and head.conv_seg.bias.abs().max() > 0


def test_it_fits_the_methods():
    head = DINOv2DPTHead(**SIZES["small"], num_classes=21)
    assert gives_per_pixel_logits(DINOv2DPTHead) and computes_stock_loss(head)
    for settings in (dict(in_channels=[384] * 3), dict(in_index=(0, 1)), dict(in_channels=[8] * 5)):
        with pytest.raises(ConfigError, match="four"):
            DINOv2DPTHead(**settings, num_classes=2)
