# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""DeepLabv2: published size and grids, values, branches that do not take part, stock loss."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from recorded import make_images
from torch import nn

from mmsemi.errors import ConfigError
from mmsemi.models.forward import (
    computes_stock_loss,
    forward,
    gives_per_pixel_logits,
    supervised_losses,
)

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
NARROW = dict(
    type="DeepLabV2Head", in_channels=8, in_index=1, num_classes=3, dilations=(1, 2, 3, 4)
)


def base_config(name: str = "supervised/voc_1-8_advsemiseg") -> Config:
    config = Config.fromfile(CONFIGS / f"{name}.py").model
    config.segmentor.backbone.init_cfg = None
    return config


@pytest.fixture(scope="module")
def published() -> nn.Module:
    with torch.device("meta"):
        return MODELS.build(base_config().segmentor)


def num_parameters(net: nn.Module, trainable: bool = False) -> int:
    return sum(p.numel() for p in net.parameters() if p.requires_grad or not trainable)


def test_the_published_size(published):
    """docs/methods/advsemiseg.md#networks."""
    assert num_parameters(published) == 44_048_532
    assert num_parameters(published, trainable=True) == 43_943_188
    assert num_parameters(published.decode_head) == 1_548_372
    assert num_parameters(published.decode_head, trainable=True) == 1_548_372


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((321, 321), (41, 41)),
        ((505, 505), (64, 64)),
        ((256, 512), (33, 65)),
        ((512, 1024), (65, 129)),
    ],
)
def test_the_published_grid(published, size, grid):
    """docs/methods/advsemiseg.md#networks."""
    logits = published(torch.empty(1, 3, *size, device="meta"))
    assert logits.shape == (1, 21, *grid)


def test_the_backbone_is_the_published_one(published):
    backbone = published.backbone
    stages = [getattr(backbone, f"layer{i}") for i in range(1, 5)]
    # The stride sits in the first 1x1; every block of a stage has the stage's dilation.
    assert [stage[0].conv1.stride[0] for stage in stages] == [1, 2, 1, 1]
    assert {block.conv2.stride for stage in stages for block in stage} == {(1, 1)}
    assert [{b.conv2.dilation[0] for b in stage} for stage in stages] == [{1}, {1}, {2}, {4}]
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(p.requires_grad for m in norms for p in m.parameters())
    published.train()
    assert all(m.training and m.track_running_stats for m in norms)  # statistics of the batch


def test_random_weights_leave_no_dead_branch():
    """A scale of 0 that is frozen would cut a residual branch off for good."""
    config = base_config().segmentor
    config.backbone.update(depth=50, base_channels=4, stem_channels=4)
    config.decode_head.update(in_channels=128, init_cfg=None)
    net = MODELS.build(config)
    net.init_weights()
    for module in net.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and not module.weight.requires_grad


def test_the_imagenet_base_differs_in_weights_and_input():
    caffe, torchvision = base_config(), base_config("supervised/voc_1-8_s4gan")
    assert not caffe.data_preprocessor.bgr_to_rgb and torchvision.data_preprocessor.bgr_to_rgb
    assert (caffe.segmentor.backbone.style, torchvision.segmentor.backbone.style) == (
        "caffe",
        "pytorch",
    )
    config = Config.fromfile(CONFIGS / "_base_" / "models" / "deeplabv2_r101.py")
    weights = config.model.segmentor.backbone.init_cfg
    assert weights == dict(type="Pretrained", checkpoint="torchvision://resnet101")
    caffe.segmentor.decode_head.pop("init_cfg")
    assert caffe.segmentor.decode_head == torchvision.segmentor.decode_head


@pytest.mark.parametrize("active", [1, 2, 4, None])
def test_head_sums_the_active_branches(active):
    head = MODELS.build({**NARROW, "num_active_branches": active})
    feature = torch.randn(2, 8, 7, 6)
    expected = sum(
        F.conv2d(feature, branch.weight, branch.bias, padding=d, dilation=d)
        for branch, d in list(zip(head.branches, (1, 2, 3, 4)))[:active]
    )
    torch.testing.assert_close(head([None, feature]), expected)
    assert [branch.weight.requires_grad for branch in head.branches] == [
        number < (active or 4) for number in range(4)
    ]


def test_state_dict_is_the_same_for_any_number_of_branches():
    full, two = MODELS.build(NARROW), MODELS.build({**NARROW, "num_active_branches": 2})
    names = [f"branches.{i}.{kind}" for i in range(4) for kind in ("weight", "bias")]
    assert list(full.state_dict()) == list(two.state_dict()) == names
    two.load_state_dict(full.state_dict())


def test_logits_are_resized_with_aligned_corners():
    """docs/methods/advsemiseg.md#networks."""
    row = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    resized = MODELS.build(NARROW).predict_by_feat(row, [dict(img_shape=(1, 5))])
    assert resized[0, 2, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("active", [0, 5])
def test_impossible_branch_counts_are_refused(active):
    with pytest.raises(ConfigError, match=f"num_active_branches={active} .* 4"):
        MODELS.build({**NARROW, "num_active_branches": active})


def test_initialisation():
    torch.manual_seed(0)
    head = MODELS.build({**NARROW, "in_channels": 256})
    before = head.branches[0].bias.clone()
    head.init_weights()
    for branch in head.branches:
        assert branch.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert 0 < branch.bias.abs().max() <= 1 / math.sqrt(256 * 9)
    assert not torch.equal(before, head.branches[0].bias)
    given = MODELS.build({**NARROW, "init_cfg": dict(type="Constant", val=0.5, layer="Conv2d")})
    given.init_weights()
    assert torch.equal(given.branches[3].weight, torch.full_like(given.branches[3].weight, 0.5))


def narrow_segmentor(segmentor_config: dict) -> nn.Module:
    head = {**NARROW, "loss_decode": dict(type="PixelCrossEntropy")}
    net = MODELS.build(ConfigDict({**segmentor_config, "decode_head": head}))
    net.init_weights()
    return net


def samples(labels: torch.Tensor) -> list[SegDataSample]:
    return [
        SegDataSample(
            gt_sem_seg=PixelData(data=label[None]),
            metainfo=dict(img_shape=label.shape, pad_shape=label.shape, ori_shape=label.shape),
        )
        for label in labels
    ]


def test_stock_loss_prediction_and_ours_agree(segmentor_config):
    net = narrow_segmentor(segmentor_config)
    assert computes_stock_loss(net.decode_head) and gives_per_pixel_logits(type(net.decode_head))
    images, labels = torch.randn(2, 3, 33, 33), torch.randint(0, 3, (2, 33, 33))
    labels[:, :3] = 255
    net.eval()
    stock = net.loss(images, samples(labels))
    outputs = forward(net, images)
    ours = supervised_losses(net, outputs, make_images(images, labels))
    assert ours.keys() == stock.keys()
    for key in stock:
        torch.testing.assert_close(ours[key].float().squeeze(), stock[key].float().squeeze())
    # Aligned corners: the outermost logits of the grid are those of the outermost pixels.
    grid = outputs.heads[0]
    torch.testing.assert_close(outputs.logits_NCHW[..., 0, 0], grid[..., 0, 0])
    torch.testing.assert_close(outputs.logits_NCHW[..., -1, -1], grid[..., -1, -1])
    predicted = net.predict(images, samples(labels))
    torch.testing.assert_close(predicted[0].seg_logits.data, outputs.logits_NCHW[0])
    net.train()
    losses = net.loss(images, samples(labels))
    losses["decode.loss_ce"].backward()
    assert all(branch.weight.grad is not None for branch in net.decode_head.branches)
