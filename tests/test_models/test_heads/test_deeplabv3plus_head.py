# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""DeepLabv3+ head: sizes and shapes of the published nets, values against plain torch."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsemi.errors import ConfigError

BN = dict(type="BN")
NARROW = dict(
    type="DeepLabV3PlusHead",
    in_channels=(8, 16),
    in_index=(0, 1),
    channels=12,
    c1_channels=6,
    num_classes=4,
    dilations=(1, 2, 3),
)


def published_net(form: str, num_classes: int = 21, depth: int = 50) -> nn.Module:
    """Backbone and head of the CPS or CAC experiments, on the meta device: counts and shapes."""
    backbone = dict(
        type="ResNetV1c" if form == "cps" else "ResNet",
        depth=depth,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        multi_grid=(2, 4, 8),
        norm_cfg=BN,
        norm_eval=False,
    )
    if form == "cps":
        backbone["stem_channels"] = 128
    head = dict(type="DeepLabV3PlusHead", aspp_form=form, num_classes=num_classes, norm_cfg=BN)
    with torch.device("meta"):
        return nn.ModuleDict(dict(backbone=MODELS.build(backbone), head=MODELS.build(head)))


def num_parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize(("num_classes", "total"), [(21, 40_475_957), (19, 40_475_443)])
def test_cps_net_has_the_published_size(num_classes, total):
    net = published_net("cps", num_classes)
    assert num_parameters(net) == total
    assert num_parameters(net["backbone"]) == 23_631_808


def test_cps_resnet101_has_the_published_size():
    assert num_parameters(published_net("cps", depth=101)["backbone"]) == 42_623_936


@pytest.mark.parametrize(
    ("depth", "total", "backbone"), [(50, 40_352_181, 23_508_032), (101, 59_344_309, 42_500_160)]
)
def test_cac_net_has_the_published_size(depth, total, backbone):
    net = published_net("cac", depth=depth)
    head = net["head"]
    assert num_parameters(net) == total
    assert num_parameters(net["backbone"]) == backbone
    assert num_parameters(head.aspp) == 15_535_104
    assert num_parameters(head.c1_bottleneck, head.decoder) == 1_303_648
    assert num_parameters(head.conv_seg) == 5_397


@pytest.mark.parametrize("form", ["cps", "cac"])
def test_feature_and_logit_shapes(form):
    """docs/methods/cps.md#network; the published nets of both forms share these shapes."""
    net = published_net(form)
    features = net["backbone"](torch.empty(2, 3, 128, 160, device="meta"))
    assert features[0].shape == (2, 256, 32, 40)
    assert features[3].shape == (2, 2048, 8, 10)
    logits = net["head"](features)
    assert logits.shape == (2, 21, 32, 40)
    assert F.interpolate(logits, (128, 160), mode="bilinear").shape == (2, 21, 128, 160)
    assert net["head"]._forward_feature(features).shape == (2, 256, 32, 40)


def test_stage_4_has_the_published_dilations():
    stage_4 = published_net("cps")["backbone"].layer4
    assert [block.conv2.dilation for block in stage_4] == [(2, 2), (4, 4), (8, 8)]
    assert {block.conv2.stride for block in stage_4} == {(1, 1)}


def test_weight_decay_reaches_the_published_tensors():
    """docs/methods/cps.md#network: (decay, no decay) per backbone, head and classifier."""
    net = published_net("cps")
    wrapper = build_optim_wrapper(
        net,
        dict(
            optimizer=dict(type="SGD", lr=0.0025, momentum=0.9, weight_decay=4e-4),
            paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
        ),
    )
    decay = {
        id(parameter): group["weight_decay"]
        for group in wrapper.optimizer.param_groups
        for parameter in group["params"]
    }

    def split(named_parameters) -> tuple[int, int]:
        values = [decay[id(parameter)] for _, parameter in named_parameters]
        return values.count(4e-4), values.count(0.0)

    head = list(net["head"].named_parameters())
    assert split(net["backbone"].named_parameters()) == (55, 110)
    assert split([item for item in head if not item[0].startswith("conv_seg")]) == (10, 12)
    assert split([item for item in head if item[0].startswith("conv_seg")]) == (1, 1)


def randomise(head: nn.Module) -> None:
    """Give every parameter and statistic a random value, so that no term can hide."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in head.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.4 + 0.05)
        for parameter in head.parameters():
            if parameter.ndim == 4:
                parameter.sub_(0.25)


def norm(x: Tensor, module: nn.Module) -> Tensor:
    """Batch norm in eval mode, written out."""
    mean, var, weight, bias = (
        t.view(1, -1, 1, 1)
        for t in (module.running_mean, module.running_var, module.weight, module.bias)
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.01 * x)


def conv_norm_relu(x: Tensor, module: nn.Module, padding: int = 0, dilation: int = 1) -> Tensor:
    x = F.conv2d(x, module.conv.weight, padding=padding, dilation=dilation)
    return norm(x, module.bn).relu()


def reference_aspp_cps(head: nn.Module, deep: Tensor) -> Tensor:
    aspp = head.aspp
    branches = [F.conv2d(deep, aspp.branches[0].weight)]
    for i, d in ((1, 2), (2, 3)):
        branches.append(F.conv2d(deep, aspp.branches[i].weight, padding=d, dilation=d))
    joint = leaky(norm(torch.cat(branches, dim=1), aspp.branches_norm))
    joint = F.conv2d(joint, aspp.branches_project.weight)
    image = F.conv2d(deep.mean(dim=(2, 3), keepdim=True), aspp.image_conv.conv.weight)
    image = F.conv2d(leaky(norm(image, aspp.image_conv.bn)), aspp.image_project.weight)
    return leaky(norm(joint + image, aspp.out_norm))


def reference_aspp_cac(head: nn.Module, deep: Tensor) -> Tensor:
    aspp = head.aspp
    branches = [conv_norm_relu(deep, aspp.branches[0])]
    for i, d in ((1, 2), (2, 3)):
        branches.append(conv_norm_relu(deep, aspp.branches[i], padding=d, dilation=d))
    image = conv_norm_relu(deep.mean(dim=(2, 3), keepdim=True), aspp.image_conv)
    branches.append(F.interpolate(image, deep.shape[2:], mode="bilinear", align_corners=True))
    return conv_norm_relu(torch.cat(branches, dim=1), aspp.project)


@pytest.mark.parametrize(
    ("form", "reference_aspp"), [("cps", reference_aspp_cps), ("cac", reference_aspp_cac)]
)
def test_head_equals_plain_torch(form, reference_aspp):
    head = MODELS.build({**NARROW, "aspp_form": form}).eval()
    randomise(head)
    generator = torch.Generator().manual_seed(1)
    low = torch.randn(2, 8, 12, 16, generator=generator)
    deep = torch.randn(2, 16, 3, 4, generator=generator)
    up = F.interpolate(reference_aspp(head, deep), (12, 16), mode="bilinear", align_corners=True)
    x = torch.cat([conv_norm_relu(low, head.c1_bottleneck), up], dim=1)
    x = conv_norm_relu(x, head.decoder[0], padding=1)
    x = conv_norm_relu(x, head.decoder[2], padding=1)
    expected = F.conv2d(x, head.conv_seg.weight, head.conv_seg.bias)
    torch.testing.assert_close(head([low, deep]), expected)


def test_forms_drop_where_the_papers_do():
    cps = MODELS.build(NARROW)
    assert [m.p for m in cps.modules() if isinstance(m, nn.Dropout)] == [0.0, 0.0]
    assert cps.dropout is None
    features = [torch.randn(2, 8, 12, 16), torch.randn(2, 16, 3, 4)]
    assert torch.equal(cps(features), cps(features))

    cac = MODELS.build({**NARROW, "aspp_form": "cac"})
    assert cac.aspp_dropout.p == 0.5
    assert cac.decoder[1].p == 0.5
    assert cac.dropout.p == 0.1
    assert type(cac.dropout) is nn.Dropout  # single elements, not channels
    assert not torch.equal(cac(features), cac(features))

    chosen = MODELS.build(
        {**NARROW, "aspp_dropout": 0.2, "decoder_dropout": 0.3, "dropout_ratio": 0.4}
    )
    assert (chosen.aspp_dropout.p, chosen.decoder[1].p, chosen.dropout.p) == (0.2, 0.3, 0.4)


@pytest.mark.parametrize("form", ["cps", "cac"])
def test_init_is_kaiming_fan_in(form):
    torch.manual_seed(0)
    head = MODELS.build({**NARROW, "aspp_form": form, "channels": 64, "in_channels": (64, 96)})
    bias = head.conv_seg.bias.clone()
    head.init_weights()
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            expected = math.sqrt(2 / fan_in)
            tolerance = 4 / math.sqrt(2 * module.weight.numel())
            assert module.weight.std().item() == pytest.approx(expected, rel=tolerance)
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (1e-5, 0.1)
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert torch.equal(module.bias, torch.zeros_like(module.bias))
    # The classifier bias is uniform in 1/sqrt(fan_in), and drawn anew for every network.
    assert head.conv_seg.bias.abs().max() <= 1 / math.sqrt(64)
    assert head.conv_seg.bias.abs().min() > 0
    assert not torch.equal(head.conv_seg.bias, bias)


def test_init_works_inside_a_segmentor():
    segmentor = MODELS.build(
        dict(
            type="EncoderDecoder",
            backbone=dict(
                type="ResNetV1c", depth=18, base_channels=8, stem_channels=8, norm_cfg=BN
            ),
            decode_head={
                **NARROW,
                "in_channels": (8, 64),
                "in_index": (0, 3),
                "loss_decode": dict(type="PixelCrossEntropy"),
            },
        )
    )
    segmentor.init_weights()
    weight = segmentor.decode_head.decoder[2].conv.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (12 * 9)), rel=0.15)
    logits = segmentor(torch.randn(2, 3, 64, 64))
    assert logits.shape[:2] == (2, 4)


def test_given_init_cfg_replaces_the_papers_init():
    head = MODELS.build({**NARROW, "init_cfg": dict(type="Constant", val=0.5, layer="Conv2d")})
    head.init_weights()
    assert torch.equal(head.conv_seg.weight, torch.full_like(head.conv_seg.weight, 0.5))


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (dict(aspp_form="deeplab"), "aspp_form='deeplab'"),
        (dict(in_channels=(8, 16, 32)), r"in_channels=\(8, 16, 32\)"),
        (dict(in_channels=16, in_index=3), "in_channels=16, in_index=3"),
        (dict(input_transform=None), "input_transform=None"),
    ],
)
def test_bad_arguments_are_refused(arguments, culprit):
    with pytest.raises(ConfigError, match=culprit):
        MODELS.build({**NARROW, **arguments})


@pytest.mark.parametrize("aspp_form", ["cps", "cac"])
def test_one_training_image_is_refused_with_the_fix(aspp_form):
    head = MODELS.build(
        dict(
            type="DeepLabV3PlusHead",
            in_channels=[4, 8],
            in_index=[0, 1],
            channels=8,
            c1_channels=4,
            num_classes=3,
            aspp_form=aspp_form,
            norm_cfg=dict(type="BN"),
        )
    )
    features = [torch.randn(1, 4, 8, 8), torch.randn(1, 8, 4, 4)]
    with pytest.raises(ConfigError, match="num_per_source"):
        head(features)
    assert head.eval()(features).shape == (1, 3, 8, 8)
