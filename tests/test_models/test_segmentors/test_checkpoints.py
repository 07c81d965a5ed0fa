# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A checkpoint of any method starts any other."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict
from mmseg.registry import MODELS

METHODS = dict(
    plain=None,
    supervised=dict(type="Supervised"),
    cps=dict(type="CPS"),
    mean_teacher=dict(type="MeanTeacher"),
    cutmix_mean_teacher=dict(type="CutMixMeanTeacher", mix=dict(type="CutMix")),
    fixmatch=dict(type="FixMatch"),
    fixmatch_student=dict(type="FixMatch", labels_from="student"),
    unimatch=dict(type="UniMatch", num_views=1),
)


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(name: str):
        segmentor = copy.deepcopy(segmentor_config)
        if METHODS[name] is None:
            return MODELS.build(segmentor)
        config = dict(METHODS[name], segmentor=segmentor, data_preprocessor=preprocessor_config)
        return MODELS.build(config)

    return make


def networks(model) -> dict[str, torch.nn.Module]:
    """All networks of a method by name, or the plain one."""
    if not hasattr(model, "network_names"):
        return {"": model}
    names = [name for name in model.network_names if name != "ensemble"]
    return {str(name): model.network(name) for name in names}


def scramble(model) -> None:
    """Other values in every network, the teacher included."""
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.1, 1)


@pytest.mark.parametrize("source", METHODS)
def test_it_fills_every_network_of_every_method(build, source):
    donor = build(source)
    scramble(donor)
    given = networks(donor)
    for target in METHODS:
        model = build(target)
        if target == "plain" or target == source:
            continue
        state = donor.state_dict()
        load_state_dict(model, state, strict=False)
        filled = networks(model)
        for name, net in filled.items():
            # The network of the same name, else the student or the first one.
            origin = given[name if filled.keys() == given.keys() else next(iter(given))]
            for key, value in net.state_dict().items():
                assert torch.equal(value, origin.state_dict()[key]), (target, name, key)
        if "teacher" in filled:
            assert model.teacher.is_loaded == ("teacher" in given), target
