# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Windows that share a forward: the stock loop's values."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from tiny_nets import ARCHITECTURES, FCN
from torch import Tensor, nn

from mmsemi.errors import ConfigError
from mmsemi.models.windows import several_windows, slide_windows

# Sizes of images and windows, strides: shifted windows, one row, smaller than a window, gaps none.
CASES = [
    ((40, 52), (16, 16), (8, 12)),
    ((16, 37), (16, 20), (16, 9)),
    ((12, 60), (16, 24), (11, 24)),
    ((10, 9), (16, 16), (8, 8)),
]


def build(config: dict = FCN, kind: str | None = None, **test_cfg) -> nn.Module:
    config = ConfigDict(copy.deepcopy(config), test_cfg=dict(mode="slide", **test_cfg))
    torch.manual_seed(0)
    net = MODELS.build(dict(config, type=kind or config.type)).eval()
    net.init_weights()
    return net


def given(size_hw: tuple[int, int]) -> tuple[Tensor, list[dict]]:
    images = torch.randn(2, 3, *size_hw, generator=torch.Generator().manual_seed(1))
    return images, [dict(img_shape=size_hw, ori_shape=size_hw, padding_size=[0] * 4)] * 2


@pytest.mark.parametrize(("size", "crop", "stride"), CASES)
@torch.no_grad()
def test_the_values_are_those_of_the_stock_loop(size, crop, stride):
    net = build(crop_size=crop, stride=stride)
    images, metas = given(size)
    stock = EncoderDecoder.slide_inference(net, images, copy.deepcopy(metas))
    forwards = []
    handle = net.backbone.register_forward_pre_hook(lambda _, args: forwards.append(len(args[0])))
    together = slide_windows(net, images, metas)
    torch.testing.assert_close(together, stock, rtol=1e-5, atol=1e-5)
    assert (together.argmax(1) == stock.argmax(1)).float().mean() >= 0.9999
    windows, found = sum(forwards), list(forwards)
    forwards.clear()
    net.test_cfg.windows_per_forward = 1
    assert torch.equal(slide_windows(net, images, metas), stock)
    assert sum(forwards) == windows and set(forwards) == {2}
    assert len(found) == -(-windows // 8), "8 windows, of two images"
    handle.remove()


@torch.no_grad()
def test_a_method_predicts_in_groups_and_leaves_the_network_as_it_was():
    net = dict(copy.deepcopy(ARCHITECTURES["ocr"]))
    net["test_cfg"] = dict(mode="slide", crop_size=(16, 16), stride=(8, 12))
    model = MODELS.build(
        dict(
            type="CPS",
            segmentor=net,
            predict_on="ensemble",
            data_preprocessor=dict(type="SemiSegDataPreProcessor", size=(16, 16)),
        )
    ).eval()
    images, metas = given((40, 52))
    parts = [EncoderDecoder.slide_inference(one, images, metas) for one in model.networks()]
    expected = torch.stack([part.softmax(1) for part in parts]).mean(0)
    forwards = []
    model.networks()[1].backbone.register_forward_pre_hook(lambda *_: forwards.append(1))
    found = torch.stack([sample.seg_logits.data for sample in model.predict(images)])
    torch.testing.assert_close(found.softmax(1), expected, rtol=1e-5, atol=1e-5)
    assert len(forwards) == 4, "16 windows of two images"
    assert not any("slide_inference" in vars(one) for one in model.networks())


def test_a_loop_of_its_own_stays():
    class Own(EncoderDecoder):
        def slide_inference(self, inputs, batch_img_metas):
            return inputs

    net = build(kind=Own, crop_size=(8, 8), stride=(8, 8))
    images, metas = given((16, 16))
    with several_windows(net) as same:
        assert same is net and net.inference(images, metas) is images


@pytest.mark.parametrize("value", [0, 1.5, True, "8"])
def test_a_number_of_windows_that_is_none_is_refused(value):
    net = build(crop_size=(8, 8), stride=(8, 8), windows_per_forward=value)
    with pytest.raises(ConfigError, match=f"windows_per_forward={value!r}"):
        slide_windows(net, *given((16, 16)))
