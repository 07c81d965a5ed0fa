# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Learning rates and steps of AdvSemiSeg and s4GAN.

The numbers are those of docs/methods/advsemiseg.md#learning-rate and
docs/methods/s4gan.md#learning-rate-and-mean-iou.
"""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import PolyLR, build_optim_wrapper
from torch import nn

from mmsemi.engine import JointOptimWrapper


class Model(nn.Module):
    """One weight in the backbone, nested as in a ResNet, one in the head, one in D; all 0."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.ModuleDict(dict(conv=nn.Linear(1, 1, bias=False)))
        backbone = nn.ModuleDict(dict(layer1=nn.ModuleList([block])))
        head = nn.Linear(1, 1, bias=False)
        self.student = nn.ModuleDict(dict(backbone=backbone, decode_head=head))
        self.discriminator = nn.Linear(1, 1, bias=False)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


def build(model: Model, lr: float, **custom_keys: dict) -> JointOptimWrapper:
    return build_optim_wrapper(
        model,
        dict(
            type="OptimWrapper",
            constructor="JointOptimWrapperConstructor",
            optimizer=dict(type="SGD", lr=lr, momentum=0.9),
            paramwise_cfg=dict(custom_keys=custom_keys),
            discriminator=dict(optimizer=dict(type="Adam", lr=1e-4, betas=(0.9, 0.99))),
        ),
    )


ADVSEMISEG = {0: 2.5e-4, 5000: 1.9297238e-4, 10000: 1.3397168e-4, 19999: 3.3652e-8}
S4GAN = {30000: 7.1794e-5}


@pytest.mark.parametrize(("iterations", "expected"), [(20000, ADVSEMISEG), (40000, S4GAN)])
@pytest.mark.filterwarnings("ignore:Detected call of")
def test_poly_schedule(iterations, expected):
    """mmengine's PolyLR is the released one with end = N + 1; the head has 10 times the rate."""
    wrapper = build(Model(), 2.5e-4, decode_head=dict(lr_mult=10.0))
    settings = dict(power=0.9, eta_min=0, begin=0, end=iterations + 1, by_epoch=False)
    schedules = [PolyLR(member, **settings) for member in wrapper.values()]
    for iteration in range(max(expected) + 1):
        if iteration in expected:
            rates = {name: one.optimizer.param_groups for name, one in wrapper.items()}
            backbone, head = (group["lr"] for group in rates["segmentor"])
            assert backbone == pytest.approx(expected[iteration], rel=2e-5), iteration
            assert head == pytest.approx(10 * backbone)
            assert rates["discriminator"][0]["lr"] == pytest.approx(backbone * 0.4)
        for schedule in schedules:
            schedule.step()


def travelled(lr_mult: float, steps: int) -> list[float]:
    """Where the backbone's weight is after each step with the gradient 1."""
    model = Model()
    wrapper = build(model, 0.1, backbone=dict(lr_mult=lr_mult))
    listed = [
        p for one in wrapper.values() for g in one.optimizer.param_groups for p in g["params"]
    ]
    assert len(listed) == len(set(listed)) == 3
    weight = model.student["backbone"]["layer1"][0]["conv"].weight
    places = []
    for _ in range(steps):
        wrapper.update_params(weight.sum())
        places.append(weight.item())
    return places


def published(times: int, steps: int) -> list[float]:
    """The same with a parameter that the released code lists several times."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    places = []
    for _ in range(steps):
        weight.grad = torch.ones(1)
        for _ in range(times):
            optimizer.step()
        places.append(weight.item())
    return places


def test_each_parameter_is_stepped_once():
    """With lr_mult 3 or 4 the long-run rate is the released one, the first steps are shorter."""
    assert travelled(1.0, 1)[0] == pytest.approx(-0.1)
    assert travelled(3.0, 1)[0] == pytest.approx(-0.3)
    assert published(3, 1)[0] == pytest.approx(-0.561)
    assert published(4, 1)[0] == pytest.approx(-0.9049)
    for times in (1, 3, 4):
        for places in (travelled(float(times), 300), published(times, 300)):
            assert places[-2] - places[-1] == pytest.approx(times, rel=1e-4)
