# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Discriminators: sizes of the published nets, values against plain torch, use inside a joint step."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsemi.errors import ConfigError

FC = dict(type="FCDiscriminator", in_channels=3, base_channels=4)
S4GAN = dict(type="S4GANDiscriminator", in_channels=5, base_channels=4)


def published(kind: str, in_channels: int) -> nn.Module:
    with torch.device("meta"):
        return MODELS.build(dict(type=kind, in_channels=in_channels))


def num_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("size", "grid"), [((321, 321), (10, 10)), ((512, 1024), (16, 32)), ((32, 33), (1, 1))]
)
def test_fc_discriminator_has_the_published_size(size, grid):
    """docs/methods/advsemiseg.md#networks."""
    net = published("FCDiscriminator", 21)
    assert num_parameters(net) == 2_783_169
    assert net(torch.empty(2, 21, *size, device="meta")).shape == (2, 1, *grid)


@pytest.mark.parametrize(
    ("classes", "total", "size"),
    [(21, 2_778_561, (321, 321)), (60, 2_818_497, (321, 321)), (19, 2_776_513, (256, 512))],
)
def test_s4gan_discriminator_has_the_published_size(classes, total, size):
    """docs/methods/s4gan.md#networks."""
    net = published("S4GANDiscriminator", classes + 3)
    assert num_parameters(net) == total
    logit, feature = net(torch.empty(2, classes + 3, *size, device="meta"))
    assert logit.shape == (2, 1)
    assert feature.shape == (2, 512)


def plain_features(net: nn.Module, x: Tensor) -> Tensor:
    convs = [module for module in net.features if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [4, 8, 16, 32]
    for conv in convs:
        x = F.conv2d(x, conv.weight, conv.bias, stride=2, padding=1)
        x = torch.where(x > 0, x, 0.2 * x)
    return x


def test_fc_discriminator_equals_plain_torch():
    net = MODELS.build(FC)
    x = torch.randn(2, 3, 70, 64)
    expected = F.conv2d(
        plain_features(net, x), net.classifier.weight, net.classifier.bias, stride=2, padding=1
    )
    torch.testing.assert_close(net(x), expected)


def test_s4gan_discriminator_equals_plain_torch():
    net = MODELS.build(S4GAN).eval()
    x = torch.randn(2, 5, 50, 39)
    feature = plain_features(net, x).flatten(2).mean(2)
    logit, found = net(x)
    torch.testing.assert_close(found, feature)
    torch.testing.assert_close(logit, feature @ net.classifier.weight.t() + net.classifier.bias)


def test_dropout_drops_channels_of_the_first_three_layers():
    net = MODELS.build(S4GAN)
    kinds = [type(module).__name__ for module in net.features]
    assert kinds == ["Conv2d", "LeakyReLU", "Dropout2d"] * 3 + ["Conv2d", "LeakyReLU"]
    assert {module.p for module in net.modules() if isinstance(module, nn.Dropout2d)} == {0.5}
    x = torch.randn(1, 5, 32, 32)
    assert not torch.equal(net(x)[1], net(x)[1])
    without = MODELS.build({**S4GAN, "dropout": 0.0})
    assert torch.equal(without(x)[1], without(x)[1])
    assert not any("Dropout" in type(m).__name__ for m in MODELS.build(FC).modules())


def test_initialisation_is_torchs():
    torch.manual_seed(3)
    net = MODELS.build(FC)
    torch.manual_seed(3)
    first = nn.Conv2d(3, 4, 4, stride=2, padding=1)
    net.init_weights()
    assert torch.equal(net.features[0].weight, first.weight)
    assert torch.equal(net.features[0].bias, first.bias)


def loss_of(output: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    if isinstance(output, tuple):
        return output[0].square().mean() + output[1].abs().mean()
    return output.square().mean()


@pytest.mark.parametrize("config", [FC, {**S4GAN, "dropout": 0.0}])
def test_detached_parameters_give_gradient_to_the_input_only(config):
    """How a generator's loss sees the discriminator in a joint step."""
    net = MODELS.build(config)
    x = torch.randn(2, config["in_channels"], 32, 32, requires_grad=True)
    detached = {name: parameter.detach() for name, parameter in net.named_parameters()}
    loss = loss_of(torch.func.functional_call(net, detached, (x,)))
    # The discriminator's own loss, in the same backward.
    (loss + loss_of(net(x.detach()))).backward()
    both = [parameter.grad.clone() for parameter in net.parameters()]
    from_generator = x.grad.clone()

    net.zero_grad()
    loss_of(net(x.detach())).backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(both, net.parameters()))
    x.grad = None
    net.requires_grad_(False)
    loss_of(net(x)).backward()
    assert torch.equal(from_generator, x.grad)


@pytest.mark.parametrize("config", [FC, S4GAN])
def test_works_under_autocast_and_in_half_precision(config):
    net = MODELS.build(config).eval()
    x = torch.randn(2, config["in_channels"], 40, 40)
    exact = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = net(x)
    if isinstance(rough, tuple):
        assert rough[1].dtype == torch.float32  # a mean over many positions
        exact, rough = exact[0], rough[0]
    torch.testing.assert_close(rough.float(), exact, atol=0.05, rtol=0.05)
    net.bfloat16()(x.bfloat16())
    assert net.double()(x.double())[0].dtype == torch.float64


@pytest.mark.parametrize(
    ("config", "shape", "culprit"),
    [
        (FC, (1, 4, 64, 64), r"in_channels=3 .*\(1, 4, 64, 64\)"),
        (FC, (1, 3, 64, 31), "32 or more"),
        (S4GAN, (1, 5, 15, 64), "16 or more"),
        (S4GAN, (5, 32, 32), r"\(5, 32, 32\)"),
    ],
)
def test_unfit_maps_are_refused_in_one_line(config, shape, culprit):
    with pytest.raises(ConfigError, match=culprit):
        MODELS.build(config)(torch.zeros(shape))
