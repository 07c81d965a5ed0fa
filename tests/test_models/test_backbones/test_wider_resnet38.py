# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Wide ResNet-38 and its DeepLabv3+ head: published size, taps, values against plain torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsemi.errors import ConfigError
from mmsemi.models.backbones.wider_resnet38 import PreActivationBlock

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
BN = dict(type="BN")
NARROW_HEAD = dict(
    type="DeepLabV3PlusWRNHead",
    in_channels=(4, 8),
    channels=6,
    c1_channels=3,
    num_classes=5,
    dilations=(1, 2, 3),
)


def num_parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.fixture(scope="module")
def published() -> nn.Module:
    """The net of the shipped config on the meta device."""
    config = Config.fromfile(CONFIGS / "supervised" / "cityscapes_1-10_wrn38_s4gan.py").model
    config.segmentor.backbone.init_cfg = None
    with torch.device("meta"):
        return MODELS.build(config.segmentor)


def test_the_published_size(published):
    """docs/methods/s4gan.md#networks"""
    trunk, head = published.backbone, published.decode_head
    assert num_parameters(trunk) == 105_062_720
    assert num_parameters(head) == 32_041_216
    assert num_parameters(published) == 137_103_936


def test_taps_and_logits_have_the_published_shapes(published):
    published.eval()  # SyncBN trains on a GPU only
    low, deep = published.backbone(torch.empty(2, 3, 256, 512, device="meta"))
    assert low.shape == (2, 128, 128, 256)
    assert deep.shape == (2, 4096, 32, 64)
    assert published.decode_head([low, deep]).shape == (2, 19, 128, 256)
    assert published.align_corners is True


def test_strides_dilations_and_dropout_are_the_published_ones(published):
    trunk = published.backbone
    modules = {f"mod{i}": getattr(trunk, f"mod{i}") for i in range(2, 8)}
    assert [len(module) for module in modules.values()] == [3, 3, 6, 3, 1, 1]
    strides = {
        f"{name}.{i}": block.convs[0].stride[0]
        for name, module in modules.items()
        for i, block in enumerate(module)
    }
    assert {name for name, stride in strides.items() if stride == 2} == {"mod4.0"}
    assert trunk.mod4[0].projection.stride == (2, 2)
    dilations = {
        name: {c.dilation[0] for b in module for c in b.convs if c.kernel_size == (3, 3)}
        for name, module in modules.items()
    }
    assert dilations == dict(mod2={1}, mod3={1}, mod4={1}, mod5={2}, mod6={4}, mod7={4})
    drops = {name: {block.dropout.p for block in module} for name, module in modules.items()}
    assert drops == dict(mod2={0}, mod3={0}, mod4={0}, mod5={0}, mod6={0.3}, mod7={0.5})
    # Channels are dropped by this net's own layers; torch's Dropout stays what it is.
    assert all(type(m) is nn.Dropout2d for m in trunk.modules() if "Dropout" in type(m).__name__)
    assert nn.Dropout is not nn.Dropout2d
    projected = [n for n, m in trunk.named_modules() if n.endswith("projection")]
    assert projected == [f"mod{i}.0.projection" for i in range(2, 8)]


def randomise(module: nn.Module) -> None:
    """Give every parameter and statistic a random value, so that no term can hide."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.4 + 0.05)
        for parameter in module.parameters():
            if parameter.ndim == 4:
                parameter.sub_(0.25)


def norm_relu(x: Tensor, module: nn.Module) -> Tensor:
    mean, var, weight, bias = (
        t.view(1, -1, 1, 1)
        for t in (module.running_mean, module.running_var, module.weight, module.bias)
    )
    return ((x - mean) / (var + 1e-5).sqrt() * weight + bias).relu()


def test_blocks_equal_plain_torch():
    x = torch.randn(2, 6, 9, 8)
    raw = x.clone()

    block = PreActivationBlock(6, (6, 6), 1, 2, 0.0, BN).eval()
    randomise(block)
    out = F.conv2d(norm_relu(x, block.norms[0]), block.convs[0].weight, padding=2, dilation=2)
    out = F.conv2d(norm_relu(out, block.norms[1]), block.convs[1].weight, padding=2, dilation=2)
    torch.testing.assert_close(block(x), x + out)  # raw input on the shortcut
    assert torch.equal(x, raw)  # nothing overwrites the tap

    block = PreActivationBlock(6, (4, 8), 2, 1, 0.0, BN).eval()
    randomise(block)
    active = norm_relu(x, block.norms[0])
    out = F.conv2d(active, block.convs[0].weight, padding=1, stride=2)
    out = F.conv2d(norm_relu(out, block.norms[1]), block.convs[1].weight, padding=1)
    torch.testing.assert_close(block(x), F.conv2d(active, block.projection.weight, stride=2) + out)

    block = PreActivationBlock(6, (4, 5, 8), 1, 3, 0.0, BN).eval()
    randomise(block)
    active = norm_relu(x, block.norms[0])
    out = F.conv2d(active, block.convs[0].weight)
    out = F.conv2d(norm_relu(out, block.norms[1]), block.convs[1].weight, padding=3, dilation=3)
    out = F.conv2d(norm_relu(out, block.norms[2]), block.convs[2].weight)
    torch.testing.assert_close(block(x), F.conv2d(active, block.projection.weight) + out)


def test_dropout_acts_before_the_last_convolution_only():
    block = PreActivationBlock(6, (4, 5, 8), 1, 1, 1.0, BN)
    x = torch.randn(2, 6, 5, 5)
    active = F.batch_norm(x, None, None, training=True).relu()
    shortcut = F.conv2d(active, block.projection.weight)
    seen = []
    block.dropout.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    torch.testing.assert_close(block(x), shortcut)  # everything dropped: no bias is left
    assert seen == [5]


def test_narrow_trunk_trains():
    net = MODELS.build(dict(type="WiderResNet38", base_channels=2))
    low, deep = net(torch.randn(2, 3, 32, 48))
    assert low.shape == (2, 4, 16, 24) and deep.shape == (2, 128, 4, 6)
    (low.mean() + deep.square().mean()).backward()
    assert all(p.grad is not None for p in net.parameters())  # DDP waits for each of them


def test_head_equals_plain_torch():
    head = MODELS.build(NARROW_HEAD).eval()
    randomise(head)
    low, deep = torch.randn(2, 4, 16, 12), torch.randn(2, 8, 4, 3)

    def conv(x: Tensor, module: nn.Module, dilation: int = 0) -> Tensor:
        x = F.conv2d(x, module.conv.weight, padding=dilation, dilation=max(dilation, 1))
        return norm_relu(x, module.bn)

    parts = [conv(deep.mean((2, 3), keepdim=True), head.image_branch).expand(-1, -1, 4, 3)]
    for branch, dilation in zip(head.branches, (0, 1, 2, 3)):
        parts.append(conv(deep, branch, dilation))
    up = F.conv2d(torch.cat(parts, 1), head.aspp_projection.weight)
    up = F.interpolate(up, (16, 12), mode="bilinear", align_corners=False)
    x = torch.cat([F.conv2d(low, head.c1_projection.weight), up], 1)
    x = conv(conv(x, head.decoder[0], 1), head.decoder[1], 1)
    assert head.conv_seg.bias is None
    torch.testing.assert_close(head([low, deep]), F.conv2d(x, head.conv_seg.weight))


def test_head_initialisation():
    torch.manual_seed(0)
    head = MODELS.build({**NARROW_HEAD, "channels": 48, "in_channels": (32, 64)})
    head.init_weights()

    def std(conv: nn.Conv2d) -> float:
        return conv.weight.std().item() * conv.weight[0].numel() ** 0.5

    assert std(head.decoder[0].conv) == pytest.approx(2**0.5, rel=0.1)
    assert std(head.conv_seg) == pytest.approx(2**0.5, rel=0.3)
    for conv in (head.aspp_projection, head.branches[1].conv, head.c1_projection):
        assert std(conv) == pytest.approx(3**-0.5, rel=0.2)  # torch's default, uniform


def test_head_refuses_what_it_cannot_do():
    with pytest.raises(ConfigError, match=r"in_channels=\(4, 8, 9\)"):
        MODELS.build({**NARROW_HEAD, "in_channels": (4, 8, 9)})
    with pytest.raises(ConfigError, match="num_per_source"):
        MODELS.build(NARROW_HEAD)([torch.randn(1, 4, 8, 8), torch.randn(1, 8, 2, 2)])
