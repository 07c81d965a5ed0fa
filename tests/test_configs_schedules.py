# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Optimiser groups and learning rates of the published settings.

Rates and decays are typed from the papers and released codes; docs/methods cites them.
"""

from __future__ import annotations

import pytest
import torch
from config_files import on_meta, read
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import PARAM_SCHEDULERS
from torch import nn

from mmsemi.engine.loops.run_length import complete_schedulers

# Learning rate of backbone and head, weight decay of convolutions and of the rest.
GROUPS = {
    "cps/voc_1-8": (0.0025, 0.0025, 4e-4, 0.0),
    "unimatch/voc_92": (0.001, 0.01, 1e-4, 1e-4),
    "fixmatch/cityscapes_1-8": (0.005, 0.005, 1e-4, 1e-4),
    "augseg/voc_92": (0.001, 0.01, 1e-4, 1e-4),
    "augseg/cityscapes_1-8": (0.01, 0.01, 5e-4, 5e-4),
    "u2pl/voc_92": (0.001, 0.01, 1e-4, 1e-4),
    "u2pl/cityscapes_1-8": (0.01, 0.01, 5e-4, 5e-4),
    "cac/voc_1-8": (0.001, 0.01, 1e-4, 1e-4),
    "cac/cityscapes_1-8": (0.01, 0.1, 1e-4, 1e-4),
    "mlmt/voc_1-8": (0.03, 0.03, 1e-5, 1e-5),
}


@pytest.mark.parametrize("name", GROUPS)
def test_optimiser_groups(name):
    backbone, head, decay, other_decay = GROUPS[name]
    config = read(name)
    model = on_meta(config.model)
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    owner = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    assert {id(p) for p in trained.values()} <= set(owner)
    for key, parameter in trained.items():
        group = owner[id(parameter)]
        assert group["lr"] == pytest.approx(backbone if ".backbone." in key else head), key
        assert group["weight_decay"] == (decay if parameter.dim() == 4 else other_decay), key


@pytest.mark.parametrize(
    ("name", "backbone", "shortcut", "stem"),
    [
        ("advsemiseg/voc_1-8", 1, 1, 1),
        ("advsemiseg/voc_1-8_legacy-lr", 3, 4, 1),
        ("s4gan/voc_1-8_legacy-lr", 3, 4, 1),
        ("s4gan/cityscapes_1-10_wrn38", 1, 1, 1),
    ],
)
def test_optimiser_groups_with_a_discriminator(name, backbone, shortcut, stem):
    """Each weight once; the head 10 times as fast; weight decay on all but the discriminator."""
    config = read(name)
    model = on_meta(config.model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    for member, decay in (("segmentor", 5e-4), ("discriminator", 0.0)):
        groups = wrapper[member].optimizer.param_groups
        owner = {id(p): group for group in groups for p in group["params"]}
        assert len(owner) == sum(len(group["params"]) for group in groups)
        module = model.student if member == "segmentor" else model.discriminator
        trained = {key: p for key, p in module.named_parameters() if p.requires_grad}
        assert {id(p) for p in trained.values()} == set(owner)
        for key, parameter in trained.items():
            factor = 1.0
            if member == "segmentor":
                factor = backbone
                for part, own in (("decode_head", 10), ("downsample", shortcut),
                                  ("backbone.conv1", stem)):  # fmt: skip
                    factor = own if part in key else factor
            base = config.optim_wrapper
            base = base.optimizer.lr if member == "segmentor" else base.discriminator.optimizer.lr
            assert owner[id(parameter)]["lr"] == pytest.approx(factor * base), key
            assert owner[id(parameter)]["weight_decay"] == decay, key


def learning_rates(config: Config, max_iters: int | None = None) -> list[float]:
    """That of each iteration of a run, by the config's optimiser and schedule."""
    max_iters = max_iters or config.train_cfg.max_iters
    base = config.optim_wrapper.optimizer.lr
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=base)
    (schedule,) = complete_schedulers(config.param_scheduler, max_iters)
    scheduler = PARAM_SCHEDULERS.build(dict(schedule, optimizer=optimizer))
    found = []
    for _ in range(max_iters):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("augseg/voc_92", {0: 0.01, 1: 9.99982824e-3, 26200: 5.35886731e-3, 52399: 5.65720403e-7}),
        ("u2pl/voc_1464", {0: 0.01, 22800: 0.00535887, 45599: 6.4111e-7}),
    ],
)
def test_learning_rates_to_the_end(name, expected):
    """docs/methods/augseg.md#learning-rate, docs/methods/u2pl.md#known-answers: of the head."""
    found = learning_rates(read(name))
    assert {step: found[step] for step in expected} == pytest.approx(expected, rel=1e-5)


def test_learning_rates_of_cac():
    """docs/methods/cac.md#known-answers: at half of the run, here a twentieth of the published one."""
    config = read("cac/voc_1-8")
    assert config.train_cfg.max_iters == 92_560
    found = learning_rates(config, 4_628)
    assert found[0] == 0.01 and found[2_314] == pytest.approx(0.00535887, rel=1e-5)


@pytest.mark.parametrize(("stem", "each"), [("voc_1-8", 83), ("voc_1-20", 34), ("voc_1-50", 14)])
def test_learning_rates_of_mlmt(stem, each):
    """A cosine over 100 epochs; known answers where an epoch starts (docs/methods/mlmt.md)."""
    found = learning_rates(read(f"mlmt/{stem}"))
    for epoch, rate in {0: 0.03, 25: 0.0256212, 50: 0.01505, 99: 1.07377e-4}.items():
        assert found[epoch * each] == pytest.approx(rate, rel=1e-5), epoch
