# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A weight file that a config names is in every network of every method, or the error names it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from step_runner import SIZE
from tiny_nets import FCN

from mmsemi.errors import CheckpointError, ConfigError
from mmsemi.models import SemiSegmentor
from mmsemi.models.branches import are_equal

METHODS = sorted(
    name
    for name, kind in MODELS.module_dict.items()
    if isinstance(kind, type)
    and issubclass(kind, SemiSegmentor)
    and kind.__module__.startswith("mmsemi.")
)
VALUE = 0.125
EXTRA = dict(
    CutMixMeanTeacher=dict(mix=dict(type="CutMix")),
    UniMatch=dict(num_views=1),
    PrevMatch=dict(num_views=1),
    AdvSemiSeg=dict(discriminator=dict(type="FCDiscriminator", base_channels=4)),
    S4GAN=dict(discriminator=dict(type="S4GANDiscriminator", base_channels=4)),
)


def build(method: str, checkpoint: Path | None = None) -> SemiSegmentor:
    segmentor = copy.deepcopy(FCN)
    if checkpoint is not None:
        init_cfg = dict(type="Pretrained", checkpoint=str(checkpoint))
        segmentor["backbone"]["init_cfg"] = init_cfg
    preprocessor = dict(type="SemiSegDataPreProcessor", size=(SIZE, SIZE))
    extra = copy.deepcopy(EXTRA.get(method, {}))
    return MODELS.build(
        dict(type=method, segmentor=segmentor, data_preprocessor=preprocessor, **extra)
    )


@pytest.fixture
def weights(tmp_path) -> Path:
    """A backbone's weight file of one value."""
    backbone = MODELS.build(copy.deepcopy(FCN["backbone"]))
    state = {
        key: torch.full_like(value, VALUE) if value.is_floating_point() else value
        for key, value in backbone.state_dict().items()
    }
    torch.save(dict(state_dict=state), tmp_path / "backbone.pth")
    return tmp_path / "backbone.pth"


def test_there_are_methods():
    assert {"CPS", "FixMatch", "UniMatch", "MeanTeacher", "S4GAN", "Supervised"} <= set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_the_file_is_in_every_network(method, weights):
    model = build(method, weights)
    model.init_weights()
    names = [name for name in model.network_names if name != "ensemble"]
    for name in names:
        for key, value in model.network(name).backbone.named_parameters():
            assert (value == VALUE).all(), (name, key)
    # The heads are initialised too, as mmseg does: torch's own default has a far larger bias.
    for net in model.networks():
        assert (net.decode_head.conv_seg.bias == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_missing_file_is_named(method, tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.pth"):
        build(method, tmp_path / "nowhere.pth").init_weights()


@pytest.mark.parametrize("method", METHODS)
def test_nothing_with_an_initialisation_is_left_out(method):
    """The kind of fault: mmengine does not look into torch's containers."""
    model = build(method)
    model.init_weights()
    teacher = set() if model.teacher is None else set(model.teacher.modules())
    for name, module in model.named_modules():
        if isinstance(module, BaseModule) and module not in teacher:
            assert module.is_init, name


# --- Networks that teach each other -----------------------------------------------------------------


def filled_from(state: dict) -> SemiSegmentor:
    model = build("CPS")
    model.init_weights()
    model.load_state_dict(state, strict=False)
    return model


@pytest.mark.parametrize("source", ["plain", "Supervised", "FixMatch"])
def test_one_checkpoint_leaves_the_networks_of_cps_different(source):
    """That of a plain segmentor, of the baseline, of a method with a teacher."""
    other = MODELS.build(copy.deepcopy(FCN)) if source == "plain" else build(source)
    model = filled_from(other.state_dict())
    first, second = model.branches
    assert are_equal(first, second)
    model.prepare_training()
    assert are_equal(first.backbone, second.backbone)
    assert not torch.equal(first.decode_head.conv_seg.weight, second.decode_head.conv_seg.weight)
    assert (second.decode_head.conv_seg.bias == 0).all(), "drawn as mmseg initialises a head"
    weight = first.decode_head.conv_seg.weight.clone()
    model.prepare_training()  # a resumed run changes nothing
    assert torch.equal(first.decode_head.conv_seg.weight, weight)


def test_a_checkpoint_of_cps_stays_as_it_is():
    trained = build("CPS")
    trained.init_weights()
    model = filled_from(trained.state_dict())
    model.prepare_training()
    for name, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_equal_networks_are_not_trained():
    model = build("CPS")
    model.branches[1].load_state_dict(model.branches[0].state_dict())
    with pytest.raises(ConfigError, match="same weights"):
        model.prepare_training()
