# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Windows vote with probabilities."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from tiny_nets import FCN
from torch import nn

KIND = "ProbabilityWindowEncoderDecoder"
SLIDE = dict(mode="slide", crop_size=(16, 16), stride=(8, 8))


def build(kind: str, channels: int = 3) -> nn.Module:
    config = copy.deepcopy(FCN)
    config["decode_head"].update(num_classes=max(2, channels), out_channels=channels, threshold=0.5)
    if channels == 1:
        config["decode_head"]["loss_decode"] = dict(type="CrossEntropyLoss", use_sigmoid=True)
    torch.manual_seed(0)
    net = MODELS.build(ConfigDict(config, type=kind, test_cfg=SLIDE)).eval()
    net.init_weights()
    return net


def metas(width: int = 32) -> list[dict]:
    return [dict(img_shape=(16, width), ori_shape=(16, 32), padding_size=[0] * 4)]


@pytest.mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_the_mean_of_probabilities(channels: int) -> None:
    net = build(KIND, channels)
    x = torch.randn(1, 3, 16, 32)
    starts = (0, 8, 16)
    total, count = torch.zeros(1, channels, 16, 32), torch.zeros(32)
    for start in starts:
        part = slice(start, start + 16)
        logits = net.encode_decode(x[..., part], metas(16))
        total[..., part] += logits.sigmoid() if channels == 1 else logits.softmax(1)
        count[part] += 1
    found = net.inference(x, metas())
    found = found.sigmoid() if channels == 1 else found.softmax(1)
    torch.testing.assert_close(found, total / count)
    # Afterwards the network is as it was, and the stock one differs.
    assert torch.equal(net.encode_decode(x, metas()), net.whole_inference(x, metas()))
    stock = build("EncoderDecoder", channels)
    stock.load_state_dict(net.state_dict())
    stock = stock.inference(x, metas())
    stock = stock.sigmoid() if channels == 1 else stock.softmax(1)
    assert not torch.allclose(found, stock, atol=1e-4)


@torch.no_grad()
def test_a_method_predicts_with_it() -> None:
    model = MODELS.build(
        dict(
            type="UniMatch",
            num_views=1,
            segmentor=dict(copy.deepcopy(FCN), type=KIND, test_cfg=SLIDE),
            data_preprocessor=dict(type="SemiSegDataPreProcessor", size=(16, 16)),
        )
    ).eval()
    x = torch.randn(1, 3, 16, 32)
    sample = model.predict(x)[0]
    torch.testing.assert_close(sample.seg_logits.data, model.network().inference(x, metas())[0])
