# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CPS with two architectures, ``segmentor2``: a ResNet and a transformer."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from method_tester import MethodTester
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import load_state_dict
from mmseg.registry import MODELS
from recorded import check_step, make_method, make_recorded
from reference.cps import cps_step
from tiny_nets import ARCHITECTURES

from mmsemi.errors import CheckpointError, ConfigError
from mmsemi.export import export_segmentor

# Its auxiliary losses would be more than a log holds.
SEGFORMER = {k: v for k, v in ARCHITECTURES["segformer"].items() if k != "auxiliary_head"}


class TestTwoArchitectures(MethodTester):
    name = "cps_two_architectures"
    model = dict(type="CPS", segmentor2=SEGFORMER, mix=dict(type="CutMix"))
    networks = [0, 1, "ensemble"]
    predict_on = 0
    unsup_losses = ("unsup.loss_cps",)
    test_a_backbone_keeps_its_statistics = None  # the second one has none; test_batch_norm.py
    test_golden_curve = None  # that of two equal networks is in test_cps.py

    def test_the_second_network_is_exported_as_what_it_is(self, straight, tmp_path):
        result = export_segmentor(Path(straight.work_dir) / "iter_4.pth", tmp_path, net=1)
        assert result.own_parts == [] and result.net == "1"
        config = Config.fromfile(result.config)
        assert config.model.backbone.type == "MixVisionTransformer"
        assert config.model.data_preprocessor.mean == [120.0, 110.0, 100.0]
        plain = MODELS.build(config.model).eval()
        load_checkpoint(plain, str(result.weights), strict=True)
        images = torch.randn(1, 3, 32, 32)
        with torch.no_grad():
            expected = straight.model.branches[1].eval()(images)
            assert torch.equal(plain(images), expected)


@pytest.fixture
def segformer() -> dict:
    """Without anything random."""
    config = copy.deepcopy(ARCHITECTURES["segformer"])
    config["backbone"]["drop_path_rate"] = 0
    for name in ("decode_head", "auxiliary_head"):
        config[name]["dropout_ratio"] = 0
    return config


@pytest.fixture
def build(segmentor_config, preprocessor_config, segformer):
    def make(**settings):
        networks = dict(segmentor=segmentor_config, segmentor2=segformer)
        networks["data_preprocessor"] = preprocessor_config
        return MODELS.build(dict(type="CPS", **copy.deepcopy({**networks, **settings})))

    return make


@pytest.mark.parametrize("pairing", [None, "halves"])
def test_the_step_is_the_reference_step(segmentor_config, preprocessor_config, segformer, pairing):
    runner = make_method(segmentor_config, preprocessor_config, type="CPS", segmentor2=segformer)
    recorded, reference = make_recorded(pairing), copy.deepcopy(runner.model)
    kinds = [type(net.backbone).__name__ for net in reference.branches]
    assert kinds == ["ResNet", "MixVisionTransformer"]
    expected = recorded.reference(cps_step, reference.branches, settings=reference.settings)
    losses = check_step(runner, recorded, expected, reference)
    assert "sup.1.aux.loss_ce" in losses and "sup.0.aux.loss_ce" not in losses


# --- Prediction -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [0, 1])
def test_it_predicts_with_either(build, name):
    model = build(predict_on=name).eval()
    x = torch.randn(1, 3, 24, 24)
    with torch.no_grad():
        assert torch.equal(model(x), model.branches[name](x))
    assert model.decode_head is model.branches[name].decode_head


def test_the_ensemble_is_the_mean_of_both(build):
    model = build(predict_on="ensemble").eval()
    x, metas = torch.randn(2, 3, 24, 24), [dict(img_shape=(24, 24))] * 2
    with torch.no_grad():
        parts = [net.encode_decode(x, metas).softmax(1) for net in model.branches]
        found = model.encode_decode(x, metas).softmax(1)
        labels = [sample.pred_sem_seg.data[0] for sample in model.predict(x)]
    torch.testing.assert_close(found, (parts[0] + parts[1]) / 2)
    assert torch.equal(torch.stack(labels), found.argmax(1))


def test_the_second_one_is_tested_as_the_first_unless_it_says_how(build, segformer):
    slide = dict(mode="slide", crop_size=(16, 16), stride=(8, 8))
    del segformer["test_cfg"]
    both = build(segmentor2=segformer, test_cfg=slide).branches
    assert [net.test_cfg.mode for net in both] == ["slide", "slide"]
    own = build(segmentor2={**segformer, "test_cfg": slide}).branches
    assert [net.test_cfg.mode for net in own] == ["whole", "slide"]


# --- Checkpoints ----------------------------------------------------------------------------------


def test_a_plain_checkpoint_fills_what_fits(build, segformer):
    """By name and shape; the other network has one classifier layer in common, and its norm."""
    plain = MODELS.build(copy.deepcopy(segformer)).state_dict()
    model = build()
    before = {key: value.clone() for key, value in model.branches[0].state_dict().items()}
    load_state_dict(model, dict(plain), strict=False)
    first, second = (net.state_dict() for net in model.branches)
    assert all(torch.equal(value, plain[key]) for key, value in second.items())
    common = {k for k, v in before.items() if k in plain and plain[k].shape == v.shape}
    assert "decode_head.conv_seg.weight" in common and len(common) < len(before) / 2
    for key, value in first.items():
        assert torch.equal(value, plain[key] if key in common else before[key]), key
    counts = (len(common), len(before)), (len(plain), len(plain))
    assert model.loaded == dict(zip(("branches.0", "branches.1"), counts))


def test_a_checkpoint_that_fits_one_of_them_alone_is_taken(build, segmentor_config):
    """The other one has the same names, but is twice as wide everywhere."""
    wide = copy.deepcopy(segmentor_config)
    wide["backbone"].update(base_channels=8, stem_channels=8)
    wide["decode_head"].update(in_channels=16, channels=16, num_convs=1)
    wide["decode_head"]["loss_decode"] = dict(type="CrossEntropyLoss")
    plain = MODELS.build(copy.deepcopy(segmentor_config)).state_dict()
    same = "decode_head.conv_seg.bias"  # as wide as there are classes
    model = build(segmentor2=wide)
    load_state_dict(model, {k: v for k, v in plain.items() if k != same}, strict=False)
    for key, value in model.branches[0].state_dict().items():
        assert key == same or torch.equal(value, plain[key]), key
    counters = [key for key, value in plain.items() if value.ndim == 0]
    counts = (len(plain) - 1, len(plain)), (len(counters), len(plain))
    assert model.loaded == dict(zip(("branches.0", "branches.1"), counts))
    with pytest.raises(CheckpointError, match=r"CPS.*conv1.*\(7, 3, 7, 7\)"):
        third = {k: v.new_zeros(7, *v.shape[1:]) if v.ndim else v for k, v in plain.items()}
        load_state_dict(build(segmentor2=wide), third, strict=False)


def test_a_checkpoint_of_its_own_is_exact(build):
    first, second = build(), build()
    load_state_dict(second, first.state_dict(), strict=True)
    theirs = first.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in second.state_dict().items())


# --- Refusals -------------------------------------------------------------------------------------


def test_both_must_have_the_same_classes(build, segformer):
    for name in ("decode_head", "auxiliary_head"):
        segformer[name]["num_classes"] = 5
    with pytest.raises(ConfigError, match=r"CPS\.segmentor2=.*EncoderDecoder.* \[3, 5\]") as error:
        build(segmentor2=segformer)
    assert len(str(error.value)) < 150, "not the whole config"


def test_a_preprocessor_of_its_own_is_refused(build, segformer):
    with pytest.raises(ConfigError, match=r"CPS\.segmentor2=.*data_preprocessor"):
        build(segmentor2={**segformer, "data_preprocessor": dict(type="SegDataPreProcessor")})


def test_a_head_without_pixel_logits_is_refused(build, segformer):
    with pytest.raises(ConfigError, match="PointHead"):
        build(segmentor2={**segformer, "decode_head": dict(type="PointHead")})


def test_only_a_config_is_a_network(build):
    with pytest.raises(ConfigError, match=r"CPS\.segmentor2='segformer'"):
        build(segmentor2="segformer")
