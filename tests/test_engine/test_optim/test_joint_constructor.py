# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""From the config to the members: who owns which parameter, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper, build_optim_wrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from torch import nn
from toy_gan import CONFIG, ToyGAN

from mmsemi.engine import JointOptimWrapper
from mmsemi.errors import ConfigError


def owned(model: nn.Module, wrapper: JointOptimWrapper) -> dict[str, set[str]]:
    """Names of the parameters by member."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        key: {names[id(p)] for group in member.optimizer.param_groups for p in group["params"]}
        for key, member in wrapper.items()
    }


def build(model: nn.Module | None = None, **changes: Any) -> JointOptimWrapper:
    config = Config(dict(optim_wrapper={**copy.deepcopy(CONFIG), **changes})).optim_wrapper
    return build_optim_wrapper(model if model is not None else ToyGAN(), config)


@pytest.mark.parametrize("paramwise", [None, dict(norm_decay_mult=0.0)])
def test_every_trainable_parameter_has_one_owner(paramwise) -> None:
    model = ToyGAN()
    model.extra = nn.Parameter(torch.zeros(3))
    model.student[0].bias.requires_grad_(False)
    wrapper = build(model, paramwise_cfg=paramwise)
    assert type(wrapper) is JointOptimWrapper
    assert owned(model, wrapper) == dict(
        segmentor={"extra", "student.0.weight", "student.2.weight", "student.2.bias"},
        discriminator={f"discriminator.{n}" for n in ("0.weight", "0.bias", "2.weight", "2.bias")},
    )
    assert isinstance(wrapper["segmentor"].optimizer, torch.optim.SGD)
    assert isinstance(wrapper["discriminator"].optimizer, torch.optim.Adam)
    assert wrapper["discriminator"].optimizer.defaults["betas"] == (0.9, 0.99)


def test_model_is_left_as_it_was() -> None:
    model = ToyGAN()
    before = [(name, id(p)) for name, p in model.named_parameters()]
    modules = [(name, id(m)) for name, m in model.named_modules()]
    build(model)
    assert [(name, id(p)) for name, p in model.named_parameters()] == before
    assert [(name, id(m)) for name, m in model.named_modules()] == modules


def test_paramwise_settings_of_each_member() -> None:
    wrapper = build(
        paramwise_cfg=dict(custom_keys={"student.2": dict(lr_mult=10.0, decay_mult=0.0)}),
        discriminator=dict(
            optimizer=dict(type="Adam", lr=2e-3),
            paramwise_cfg=dict(custom_keys={"discriminator.2": dict(lr_mult=0.5)}),
        ),
    )
    groups = wrapper["segmentor"].optimizer.param_groups
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(0.05, 1e-3)] * 2 + [(0.5, 0.0)] * 2
    assert [g["lr"] for g in wrapper["discriminator"].optimizer.param_groups] == [
        *[2e-3] * 2,
        *[1e-3] * 2,
    ]
    # mmengine's base value leads the log where a member has several groups
    assert wrapper.get_lr()["segmentor.base_lr"] == [0.05]
    assert wrapper.get_momentum()["segmentor.momentum"][0] == 0.9


def test_wrapper_settings_reach_the_members() -> None:
    wrapper = build(
        accumulative_counts=3,
        clip_grad=dict(max_norm=1.0),
        discriminator=dict(
            optimizer=dict(type="Adam", lr=1e-3), clip_grad=dict(type="value", clip_value=2.0)
        ),
    )
    assert [member._accumulative_counts for member in wrapper.values()] == [3, 3]
    assert wrapper["segmentor"].clip_grad_kwargs == dict(max_norm=1.0)
    assert wrapper["discriminator"].clip_grad_kwargs == dict(clip_value=2.0)
    assert build(clip_grad=dict(max_norm=1.0))["discriminator"].clip_grad_kwargs is None


@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler is enabled")
def test_amp_switch_of_the_stock_tool(monkeypatch) -> None:
    """``--amp`` sets these two values, and only if the type at the top is OptimWrapper."""
    monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True)
    config = Config(dict(optim_wrapper=copy.deepcopy(CONFIG)))
    assert config.optim_wrapper.type == "OptimWrapper"
    config.optim_wrapper.type = "AmpOptimWrapper"
    config.optim_wrapper.loss_scale = "dynamic"
    config.merge_from_dict({"optim_wrapper.dtype": "bfloat16"})
    wrapper = build_optim_wrapper(ToyGAN(), config.optim_wrapper)
    assert all(type(member) is AmpOptimWrapper for member in wrapper.values())
    assert all(member.cast_dtype == torch.bfloat16 for member in wrapper.values())
    assert all(member.loss_scaler.scaler is wrapper.loss_scaler for member in wrapper.values())


def test_aliases_and_parametrisations() -> None:
    """A part that the model also lists elsewhere, or has spectral norm, is still the part's."""
    model = ToyGAN()
    model.discriminator[0] = nn.utils.parametrizations.spectral_norm(model.discriminator[0])
    model.everything = nn.ModuleList([model.student, model.discriminator])
    names = owned(model, build(model))
    assert all(name.startswith("discriminator") for name in names["discriminator"])
    assert "discriminator.0.parametrizations.weight.original" in names["discriminator"]
    assert all(name.startswith("student") for name in names["segmentor"])


def test_wrapped_model() -> None:
    wrapped = nn.Module()
    wrapped.module = ToyGAN()
    assert {len(names) for names in owned(wrapped, build(wrapped)).values()} == {4}


ADAM = dict(type="Adam", lr=1e-4)


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        (
            dict(discriminatr=dict(optimizer=ADAM)),
            r"optim_wrapper.discriminatr: .*'discriminator'.*student, discriminator, teacher",
        ),
        (dict(train_step=dict(optimizer=ADAM)), "'train_step'"),
        (dict(teacher=dict(optimizer=ADAM)), "'teacher'"),
        (dict(student=dict(optimizer=ADAM)), "'segmentor'"),
        (dict(segmentor=dict(optimizer=ADAM)), "optim_wrapper.segmentor"),
        (dict(discriminator=dict(lr=1)), "'lr' in optim_wrapper.discriminator"),
        (
            dict(discriminator=dict(optimizer=ADAM, accumulative_counts=2)),
            r"'accumulative_counts' in optim_wrapper.discriminator .*optimizer",
        ),
        (dict(discriminator=dict()), "optim_wrapper.discriminator.optimizer=None"),
        (dict(discriminator=None), "'discriminator' in optim_wrapper"),
        (dict(optimizer=None), "optim_wrapper.optimizer=None"),
        (dict(acumulative_counts=2), "'acumulative_counts'.*'accumulative_counts'"),
        (dict(dtype="bfloat16"), "'dtype' in optim_wrapper"),
        (dict(type="OptimWraper"), "optim_wrapper.type='OptimWraper'"),
    ],
)
def test_faults_are_named(changes, culprit) -> None:
    with pytest.raises(ConfigError, match=culprit):
        build(**changes)


def test_no_part_or_overlapping_parts() -> None:
    config = {key: value for key, value in CONFIG.items() if key != "discriminator"}
    with pytest.raises(ConfigError, match="JointOptimWrapperConstructor"):
        build_optim_wrapper(ToyGAN(), config)
    model = ToyGAN()
    model.critic = model.discriminator
    with pytest.raises(ConfigError, match="'discriminator' and 'critic'"):
        build(model, critic=dict(optimizer=ADAM))


def test_custom_wrapper_type() -> None:
    class Counting(OptimWrapper):
        """Registered by nobody: a config in Python may hold the class."""

        def __init__(self, note: str = "", **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.note = note

    config = {**copy.deepcopy(CONFIG), "type": Counting, "note": "x", "accumulative_counts": 2}
    wrapper = build_optim_wrapper(ToyGAN(), config)
    assert [(m.note, m._accumulative_counts) for m in wrapper.values()] == [("x", 2)] * 2
