# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Rates by parameter names are those that the plain network would get."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from tiny_nets import ARCHITECTURES, FCN
from torch import nn

from mmsemi.errors import ConfigError

BEIT = dict(
    FCN,
    backbone=dict(
        type="BEiT",
        img_size=(32, 32),
        patch_size=8,
        embed_dims=16,
        num_layers=3,
        num_heads=2,
        mlp_ratio=2,
        out_indices=(2,),
        qv_bias=True,
        attn_drop_rate=0.0,
        drop_path_rate=0.0,
        norm_cfg=dict(type="LN"),
        init_values=0.1,
    ),
    decode_head=dict(FCN["decode_head"], in_channels=16, in_index=0),
)
OPTIMIZER = dict(type="AdamW", lr=1e-3, weight_decay=0.05)
DECAY = dict(
    constructor="LearningRateDecayOptimizerConstructor",
    paramwise_cfg=dict(num_layers=3, decay_rate=0.5, decay_type="layer_wise"),
)
LEGACY = dict(
    constructor="LayerDecayOptimizerConstructor",
    paramwise_cfg=dict(num_layers=3, layer_decay_rate=0.7),
)
#: HRNet has modules of the name that CPS gives its networks.
STAGES = [
    dict(num_modules=1, num_branches=number, num_blocks=[1] * number, num_channels=[4] * number)
    for number in range(1, 5)
]
HRNET = dict(
    FCN,
    backbone=dict(
        type="HRNet",
        extra={
            f"stage{i}": dict(block="BOTTLENECK" if i == 1 else "BASIC", **stage)
            for i, stage in enumerate(STAGES, 1)
        },
    ),
    decode_head=dict(FCN["decode_head"], in_channels=4, in_index=0),
)
BRANCHES = dict(paramwise_cfg=dict(custom_keys={"branches": dict(lr_mult=0.1)}))
KEYS = dict(paramwise_cfg=dict(custom_keys={".backbone": dict(lr_mult=0.5)}, norm_decay_mult=0.0))
PREPROCESSOR = dict(type="SemiSegDataPreProcessor", size=(32, 32))


def build(kind: str, segmentor: dict, **settings: Any) -> nn.Module:
    config = dict(type=kind, segmentor=segmentor, data_preprocessor=PREPROCESSOR, **settings)
    return MODELS.build(copy.deepcopy(config))


def rates(model: nn.Module, optim: dict, member: str | None = None) -> Counter:
    """How many parameters have which learning rate and weight decay."""
    config = copy.deepcopy(dict(type="OptimWrapper", optimizer=OPTIMIZER, **optim))
    wrapper = build_optim_wrapper(model, config)
    groups = (wrapper[member] if member else wrapper).optimizer.param_groups
    return Counter((g["lr"], g["weight_decay"]) for g in groups for _ in g["params"])


@pytest.mark.filterwarnings("ignore:DeprecationWarning")
@pytest.mark.parametrize(
    ("net", "optim"), [(BEIT, DECAY), (BEIT, LEGACY), (BEIT, KEYS), (HRNET, BRANCHES)]
)
@pytest.mark.parametrize(("kind", "networks"), [("MeanTeacher", 1), ("CPS", 2)])
def test_rates_are_those_of_the_plain_network(
    kind: str, networks: int, net: dict, optim: dict
) -> None:
    plain = rates(MODELS.build(copy.deepcopy(net)), optim)
    found = rates(build(kind, net), optim)
    assert found == Counter({rate: networks * count for rate, count in plain.items()})


@pytest.mark.parametrize("optim", [DECAY, KEYS])
def test_rates_of_the_segmentor_beside_a_discriminator(optim: dict) -> None:
    model = build("S4GAN", BEIT, discriminator=dict(type="S4GANDiscriminator"))
    joint = dict(
        constructor="JointOptimWrapperConstructor",
        paramwise_cfg=optim["paramwise_cfg"],
        discriminator=dict(optimizer=dict(type="Adam", lr=1e-4)),
    )
    if "constructor" in optim:
        joint["segmentor_constructor"] = optim["constructor"]
    assert rates(model, joint, "segmentor") == rates(MODELS.build(copy.deepcopy(BEIT)), optim)


def test_every_parameter_is_stepped_once() -> None:
    model = build("CPS", ARCHITECTURES["segformer"])
    model.extra = nn.Linear(2, 2)
    found = rates(model, KEYS)
    assert found.total() == sum(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("kind", "optim", "named"),
    [
        ("MeanTeacher", dict(custom_keys={"student.backbone": dict(lr_mult=0.1)}), "student"),
        ("CPS", dict(custom_keys={"branches.1": dict(lr_mult=0.1)}), "branches"),
    ],
)
def test_keys_that_match_no_plain_name(kind: str, optim: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        rates(build(kind, FCN), dict(paramwise_cfg=optim))


def test_constructor_that_does_not_know_the_backbone() -> None:
    with pytest.raises(ConfigError, match="ResNetV1c"):
        rates(build("MeanTeacher", FCN), DECAY)
