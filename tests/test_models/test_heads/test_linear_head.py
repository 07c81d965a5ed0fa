# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The linear head: what it computes, in which order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmsemi.models import LinearHead
from mmsemi.models.features import classifier_features, classify
from mmsemi.models.forward import computes_stock_loss, gives_per_pixel_logits


@pytest.mark.parametrize("in_index", [3, (1, 3)])
def test_dropout_norm_classifier(in_index):
    torch.manual_seed(0)
    head = LinearHead(8, in_index=in_index, num_classes=3, norm_cfg=dict(type="BN"))
    head.init_weights()
    maps = [torch.randn(2, 8, 5, 7) for _ in range(4)]
    x = maps[3] if in_index == 3 else torch.cat([maps[1], maps[3]], 1)
    assert head.channels == x.shape[1] and isinstance(head.dropout, nn.Dropout2d)
    head.dropout.p = 0.0
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
    normed = (x - mean) / (var + 1e-5).sqrt()
    torch.testing.assert_close(head(maps), head.conv_seg(normed))
    assert gives_per_pixel_logits(LinearHead) and computes_stock_loss(head)


def test_its_features_are_those_in_front_of_the_norm():
    from mmengine.config import ConfigDict
    from mmseg.registry import MODELS
    from tiny_nets import FCN

    head = dict(type="LinearHead", in_channels=8, in_index=1, num_classes=3,
                norm_cfg=dict(type="BN"), dropout_ratio=0.1)  # fmt: skip
    net = MODELS.build(ConfigDict(FCN, decode_head=head)).eval()
    x = torch.randn(1, 3, 32, 32)
    features = classifier_features(net, x)
    assert torch.equal(features, net.extract_feat(x)[1])
    assert torch.equal(classify(net, features), net.decode_head(net.extract_feat(x)))
