# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The frame of every method: networks, weights, the network that predicts, refused batches."""

from __future__ import annotations

import copy
from urllib.error import URLError

import pytest
import torch
import toy_teacher  # noqa: F401  (registers ToyTeacherStudent)
from mmengine.runner.checkpoint import load_state_dict
from mmseg.registry import MODELS
from recorded import make_recorded

from mmsemi.errors import CheckpointError, ConfigError
from mmsemi.structures import SemiBatch


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(kind="Supervised", segmentor=None, **kwargs):
        return MODELS.build(
            dict(
                type=kind,
                segmentor=copy.deepcopy(segmentor or segmentor_config),
                data_preprocessor=preprocessor_config,
                **kwargs,
            )
        )

    return make


def state(net):
    return {key: value.clone() for key, value in net.state_dict().items()}


def equal(net, values):
    return all(torch.equal(value, values[key]) for key, value in net.state_dict().items())


def all_networks(model):
    return [*model.networks(), *([model.teacher.module] if model.has_teacher else [])]


@pytest.mark.parametrize("kind", ["Supervised", "CPS", "ToyTeacherStudent"])
def test_a_plain_checkpoint_loads_into_every_network(build, segmentor_config, kind):
    plain = state(MODELS.build(copy.deepcopy(segmentor_config)))
    model = build(kind)
    before = dict(plain)
    load_state_dict(model, plain, strict=False)
    assert plain.keys() == before.keys(), "the caller's dict is not changed"
    assert all(value is before[key] for key, value in plain.items())
    assert len(all_networks(model)) == (1 if kind == "Supervised" else 2)
    assert all(equal(net, before) for net in all_networks(model))
    names = dict(CPS=["branches.0", "branches.1"], Supervised=["student"])
    expected = names.get(kind, ["student", "teacher"])
    assert model.loaded == dict.fromkeys(expected, (len(plain), len(plain)))


def test_the_count_of_loaded_tensors_tells_what_was_missing(build, segmentor_config):
    plain = state(MODELS.build(copy.deepcopy(segmentor_config)))
    size = len(plain)
    plain["decode_head.conv_seg.weight"] = torch.zeros(7, 8, 1, 1)  # of other classes
    del plain["decode_head.conv_seg.bias"]
    model = build("ToyTeacherStudent")
    load_state_dict(model, plain, strict=False)
    assert model.loaded == dict(student=(size - 2, size), teacher=(size - 2, size))


def test_own_checkpoints_load_unchanged(build):
    for kind in ("Supervised", "CPS", "ToyTeacherStudent"):
        first, second = build(kind), build(kind)
        load_state_dict(second, first.state_dict(), strict=True)
        assert equal(second, state(first))


def test_a_checkpoint_of_another_method_loads(build):
    supervised, cps, teacher = build(), build("CPS"), build("ToyTeacherStudent")
    load_state_dict(cps, supervised.state_dict(), strict=False)
    assert all(equal(net, state(supervised.student)) for net in cps.branches)
    load_state_dict(teacher, build("CPS").state_dict(), strict=False)
    assert equal(teacher.teacher.module, state(teacher.student))


def test_a_student_only_checkpoint_also_fills_the_teacher(build):
    model, source = build("ToyTeacherStudent"), build()
    load_state_dict(model, source.state_dict(), strict=False)
    assert equal(model.teacher.module, state(source.student)) and not model.teacher.is_loaded
    load_state_dict(model, build("ToyTeacherStudent").state_dict(), strict=False)
    assert model.teacher.is_loaded


def test_a_checkpoint_that_matches_nothing_is_an_error(build):
    with pytest.raises(CheckpointError, match="CPS.*'fc.weight'"):
        load_state_dict(build("CPS"), {"fc.weight": torch.zeros(1)}, strict=False)


def test_a_checkpoint_of_another_width_is_an_error(build):
    source = {key: torch.zeros(3, 3, 3) for key in build("CPS").state_dict()}
    with pytest.raises(CheckpointError, match=r"CPS.*\(3, 3, 3\)"):
        load_state_dict(build("CPS"), source, strict=False)


def test_the_teacher_stays_in_eval_and_without_gradient(build):
    model = build("ToyTeacherStudent").train()
    assert model.student.training and not any(m.training for m in model.teacher.modules())
    assert not any(p.requires_grad for p in model.teacher.parameters())
    in_train = build("ToyTeacherStudent", teacher_mode="train").train()
    assert in_train.teacher.training and in_train.teacher.module.training


def test_a_teacher_without_its_hook_refuses_to_train(build):
    with pytest.raises(ConfigError, match="ToyTeacherStudent .*MeanTeacherHook"):
        build("ToyTeacherStudent")(make_recorded().batch, mode="loss")


def test_it_looks_like_the_network_that_predicts(build):
    model = build("CPS", predict_on=1)
    net = model.branches[1]
    for name in ("backbone", "decode_head", "num_classes", "out_channels", "align_corners"):
        assert getattr(model, name) is getattr(net, name)
    assert model.test_cfg is net.test_cfg and model.with_decode_head
    assert (
        build(pretrained=None, train_cfg=None, test_cfg=dict(mode="whole")).test_cfg.mode == "whole"
    )


@pytest.mark.parametrize("name", ["pretrained", "train_cfg"])
def test_settings_of_the_segmentor_belong_there(build, name):
    with pytest.raises(ConfigError, match=rf"model\.{name}={{'x': 1}}"):
        build(**{name: dict(x=1)})


def test_predict_on_is_restored_after_an_error(build):
    model = build("ToyTeacherStudent")
    with pytest.raises(KeyError), model.predicting_on("student"):
        raise KeyError
    assert model.predict_on == "teacher"
    with pytest.raises(ConfigError, match="'pupil'"), model.predicting_on("pupil"):
        pass


def test_all_entry_points_give_the_network_s_own_results(build):
    model = build("CPS").eval()
    x = torch.randn(1, 3, 24, 24)
    metas = [dict(ori_shape=(24, 24), img_shape=(24, 24), pad_shape=(24, 24), padding_size=[0] * 4)]
    with torch.no_grad():
        net = model.branches[0]
        assert torch.equal(model(x), net(x))
        assert torch.equal(model.encode_decode(x, metas), net.encode_decode(x, metas))
        for ours, theirs in zip(model.extract_feat(x), net.extract_feat(x)):
            assert torch.equal(ours, theirs)
        assert torch.equal(
            model.predict(x)[0].pred_sem_seg.data, net.predict(x)[0].pred_sem_seg.data
        )


def test_the_preprocessor_of_an_unchanged_mmseg_config_is_taken_over(segmentor_config):
    segmentor_config["data_preprocessor"] = dict(
        type="SegDataPreProcessor", size=(8, 8), mean=[1.0] * 3, std=[2.0] * 3
    )
    model = MODELS.build(dict(type="Supervised", segmentor=segmentor_config))
    assert type(model.data_preprocessor).__name__ == "SemiSegDataPreProcessor"
    assert model.data_preprocessor.size == (8, 8)


def test_heads_without_pixel_logits_are_refused(build, segmentor_config):
    head = segmentor_config["decode_head"]
    cascade = dict(
        segmentor_config,
        type="CascadeEncoderDecoder",
        num_stages=2,
        decode_head=[
            head,
            dict(type="PointHead", in_channels=[8], in_index=[1], channels=8, num_classes=3),
        ],
    )
    with pytest.raises(ConfigError, match="PointHead"):
        build(segmentor=cascade)


def test_missing_weights_name_file_and_place(build, segmentor_config, monkeypatch):
    segmentor_config["backbone"]["init_cfg"] = dict(
        type="Pretrained", checkpoint="open-mmlab://resnet50_v1c"
    )
    model = build(segmentor=segmentor_config)

    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("mmengine.runner.checkpoint.load_url", offline)
    with pytest.raises(CheckpointError, match=r"resnet50_v1c.*'.*checkpoints.*\.pth'"):
        model.init_weights()
    segmentor_config["backbone"]["init_cfg"]["checkpoint"] = "no/such/file.pth"
    with pytest.raises(CheckpointError, match="'no/such/file.pth'"):
        build(segmentor=segmentor_config).init_weights()


@pytest.mark.parametrize(
    "inputs", [torch.zeros(1, 3, 8, 8), SemiBatch(None, make_recorded().batch.unlabeled)]
)
def test_batches_without_labelled_images_say_what_to_set(build, inputs):
    with pytest.raises(ConfigError, match=r"SemiSegDataPreProcessor.*num_per_source\.labeled"):
        build()(inputs, mode="loss")
