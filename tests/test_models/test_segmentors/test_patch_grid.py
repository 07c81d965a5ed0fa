# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Images and windows of any size on a grid of patches."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from tiny_nets import FCN, VIT
from torch import nn

from mmsemi.errors import ConfigError
from mmsemi.models.forward import forward
from mmsemi.models.segmentors.patch_grid import check_sizes, nearest_multiple


def build(**changes) -> nn.Module:
    torch.manual_seed(0)
    net = MODELS.build(ConfigDict(dict(VIT, type="PatchGridEncoderDecoder", **changes))).eval()
    net.init_weights()
    return net


def metas(h: int, w: int) -> list[dict]:
    return [dict(img_shape=(h, w), ori_shape=(h, w), padding_size=[0] * 4)]


def resized(x, size):
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def test_the_nearest_multiple():
    sides = [1, 7, 20, 21, 28, 375, 500]
    assert [nearest_multiple(side, 14) for side in sides] == [14, 14, 14, 28, 28, 378, 504]
    assert (nearest_multiple(1024, 14), nearest_multiple(2048, 14)) == (1022, 2044)


@torch.no_grad()
def test_whole_images_there_and_back():
    net = build()
    x = torch.randn(1, 3, 37, 50)
    expected = resized(forward(net, resized(x, (32, 48))).logits_NCHW, (37, 50))
    assert torch.equal(net.inference(x, metas(37, 50)), expected)
    sample = net.predict(x, None)[0]
    assert sample.seg_logits.data.shape[-2:] == (37, 50)
    fitting = x[..., :32, :48].contiguous()
    assert torch.equal(net.inference(fitting, metas(32, 48)), forward(net, fitting).logits_NCHW)


@torch.no_grad()
def test_padded_images_keep_their_padding():
    """`size_divisor` of a preprocessor: logits have the input's size, and are cut afterwards."""
    net = build()
    x = torch.randn(1, 3, 48, 48)
    padded = [dict(img_shape=(40, 40), pad_shape=(48, 48), ori_shape=(40, 40))]
    assert net.encode_decode(x, padded).shape[-2:] == (48, 48)


@torch.no_grad()
def test_windows_vote_with_probabilities():
    net = build(test_cfg=dict(mode="slide", crop_size=(32, 32), stride=(16, 16)))
    x = torch.randn(1, 3, 24, 40)  # lower than the window
    total, count = torch.zeros(1, net.out_channels, 24, 40), torch.zeros(40)
    for start in (0, 8):
        part = slice(start, start + 32)
        logits = forward(net, resized(x[..., part], (32, 32))).logits_NCHW
        total[..., part] += resized(logits, (24, 32)).softmax(1)
        count[part] += 1
    found = net.inference(x, metas(24, 40)).softmax(1)
    torch.testing.assert_close(found, total / count)


def test_a_backbone_without_patches_is_refused():
    with pytest.raises(ConfigError, match="ResNetV1c has no patch_size"):
        MODELS.build(ConfigDict(FCN, type="PatchGridEncoderDecoder"))


def test_sizes_are_checked_before_a_training():
    grid, stock = build(), MODELS.build(ConfigDict(VIT))
    window = dict(mode="slide", crop_size=(40, 48), stride=(16, 16))
    sliding = MODELS.build(ConfigDict(VIT, test_cfg=window))
    for net in (grid, stock):
        check_sizes(net, (32, 48))
        check_sizes(net, None)
        with pytest.raises(ConfigError, match="40x48"):
            check_sizes(net, (40, 48))
    with pytest.raises(ConfigError, match="40x48"):
        check_sizes(sliding, None)
    check_sizes(MODELS.build(ConfigDict(FCN)), (33, 35))
    preprocessor = dict(type="SemiSegDataPreProcessor", size=(40, 40))
    model = MODELS.build(dict(type="CPS", segmentor=VIT, data_preprocessor=preprocessor))
    with pytest.raises(ConfigError, match="40x40"):
        model.prepare_training()
