# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A frozen encoder; what a whole step of each method does with it is in method_tester.py."""

from __future__ import annotations

import copy

import pytest
import torch
from method_runs import build_optimizers
from mmengine.optim import AmpOptimWrapper
from mmseg.registry import MODELS
from step_runner import SIZE, NoiseImages, StepRunner, draw_batches
from tiny_nets import ARCHITECTURES, CLASSIFIER, FCN, VIT
from torch import nn
from watchers import record_inputs

from mmsemi.errors import CheckpointError, ConfigError
from mmsemi.models import SemiSegmentor
from mmsemi.models.forward import encode, forward
from mmsemi.models.frozen_encoder import StepMaps, freeze, keep_maps

STRONG = dict(type="StrongPhotometric")
MIX = dict(type="SingleBoxCutMix", pairing="reverse")


def build(method: str = "FixMatch", segmentor: dict = FCN, **settings) -> SemiSegmentor:
    torch.manual_seed(0)
    settings.setdefault("frozen_encoder", True)
    preprocessor = dict(type="SemiSegDataPreProcessor", size=(SIZE, SIZE))
    config = dict(type=method, segmentor=copy.deepcopy(segmentor), data_preprocessor=preprocessor)
    model = MODELS.build(dict(config, **copy.deepcopy(settings)))
    model.init_weights()
    return model


def batch() -> dict:
    return draw_batches(NoiseImages(), dict(labeled=2, unlabeled=4), 1)[0]


# --- Maps of a step -------------------------------------------------------------------------------


class Counting(nn.Module):
    """Counts its forwards."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.drop = nn.Dropout(0.5)
        self.forwards = 0

    def forward(self, x):
        self.forwards += 1
        return (self.drop(x * self.weight),)


def test_equal_memory_is_mapped_once_and_only_while_it_is_unchanged():
    backbone = Counting()
    freeze(backbone)
    maps, x = backbone.step_maps, torch.ones(4, 3, 2, 2)
    with maps.step():
        first = maps.of(backbone.train(), x)[0]
        assert torch.equal(first, x) and not first.requires_grad, "in eval mode"
        assert maps.of(backbone, x[:4])[0] is first and backbone.forwards == 1
        maps.of(backbone, x[:2])
        maps.of(backbone, x.clone())
        assert backbone.forwards == 3
        x += 1
        assert torch.equal(maps.of(backbone, x)[0], x)
        with torch.autocast("cpu", torch.bfloat16):
            maps.of(backbone, x)
        assert backbone.forwards == 5
        with maps.step():
            assert maps.of(backbone, x)[0] is not first
        assert maps.is_open, "an inner step ends nothing"
    assert not maps.is_open and not maps._known
    assert type(copy.deepcopy(maps)) is StepMaps


def test_several_batches_share_a_forward():
    for frozen in (False, True):
        net = build(frozen_encoder=frozen).student.eval()
        seen = record_inputs(net.backbone, in_eval=True)
        x, y = torch.randn(2, 3, 32, 32), torch.randn(1, 3, 32, 32)
        with keep_maps([net]):
            encode(net, x)
            logits = forward(net, [x, y, x[:0]]).logits_NCHW
        assert [len(one) for one in seen] == ([2, 1] if frozen else [2, 3])
        torch.testing.assert_close(logits, forward(net, torch.cat([x, y])).logits_NCHW)


def test_a_neck_is_trained():
    neck = dict(type="FPN", in_channels=[4, 8], out_channels=8, num_outs=2)
    net = build("Supervised", dict(FCN, neck=neck)).student
    with keep_maps([net]):
        feats = encode(net, torch.randn(1, 3, 32, 32))
    assert (
        all(f.requires_grad for f in feats) and net.neck.lateral_convs[0].conv.weight.requires_grad
    )


# --- Steps ----------------------------------------------------------------------------------------

STEPS = [
    ("FixMatch", dict(labels_from="student", labeled_forward="weak", threshold=0.4)),
    ("FixMatch", dict(labels_from="student", threshold=0.4)),
    ("UniMatch", dict(labeled_forward="alone", threshold=0.4)),
    ("UniMatch", dict(threshold=0.4)),
    ("MeanTeacher", dict(consistency_on_labeled=True)),
]


@pytest.mark.parametrize(("method", "settings"), STEPS)
def test_kept_maps_change_no_loss(method, settings, monkeypatch):
    if method != "MeanTeacher":
        settings = dict(settings, strong=STRONG, mix=dict(MIX, pairing="permute"))
    losses, forwards = [], []
    for is_kept in (True, False):
        model = build(method, **settings)
        seen = record_inputs(model.student.backbone, in_eval=True)
        runner = StepRunner(model, build_optimizers(model, {}))
        with monkeypatch.context() as patch:
            if not is_kept:
                patch.setattr("mmsemi.models.forward.step_maps", lambda net: None)
            torch.manual_seed(0)
            losses.append(runner.step(batch()))
        forwards.append(sum(len(x) for x in seen))
    assert losses[0].keys() == losses[1].keys()
    for key, value in losses[0].items():
        torch.testing.assert_close(value, losses[1][key], rtol=1e-4, atol=1e-5)
    assert forwards[0] < forwards[1], "something was computed twice without"


@pytest.mark.parametrize("segmentor", [VIT, ARCHITECTURES["segformer"]], ids=["vit", "segformer"])
@pytest.mark.parametrize("paramwise", [None, dict(custom_keys=dict(backbone=dict(lr_mult=0.1)))])
def test_its_optimiser_groups_are_gone(segmentor, paramwise):
    model = build("FixMatch", segmentor, strong=STRONG, mix=MIX, labeled_forward="strong")
    wrapper = build_optimizers(model, {}, paramwise_cfg=paramwise)
    stepped = [p for group in wrapper.optimizer.param_groups for p in group["params"]]
    trained = [p for p in model.student.parameters() if p.requires_grad]
    assert {*map(id, stepped)} == {*map(id, trained)}
    assert not any(p.requires_grad for p in model.student.backbone.parameters())
    assert all(p.requires_grad for p in model.student.decode_head.parameters())
    runner = StepRunner(model, wrapper)
    values = runner.step(batch())
    assert torch.isfinite(torch.as_tensor(values["loss"]))
    assert all(p.grad is None for p in model.student.backbone.parameters())


@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler is enabled")
def test_in_bfloat16(monkeypatch):
    from mmengine.optim.optimizer import amp_optimizer_wrapper

    monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True)
    found = []
    for kind, options in ((None, {}), (AmpOptimWrapper, dict(dtype="bfloat16"))):
        model = build("Supervised", VIT)
        wrapper = build_optimizers(model, {}, *([kind] if kind else []), **options)
        found.append(StepRunner(model, wrapper).step(batch())["loss"].item())
    assert found[0] == pytest.approx(found[1], rel=5e-2) and found[0] != found[1]


def test_the_teacher_has_the_students_encoder():
    model = build(strong=STRONG, momentum=0.5, ema_warmup=False)
    assert model.teacher.module.backbone is model.student.backbone
    runner = StepRunner(model, build_optimizers(model, {}))
    head = copy.deepcopy(model.teacher.module.decode_head.state_dict())
    runner.step(batch())
    changed = model.teacher.module.decode_head.state_dict()
    assert not torch.equal(changed["conv_seg.weight"], head["conv_seg.weight"])
    # Its checkpoint fills another model of its kind, and a plain one.
    other = build(strong=STRONG)
    other.load_state_dict(model.state_dict())
    for key, value in other.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key
    plain = MODELS.build(copy.deepcopy(FCN))
    plain.load_state_dict(model.teacher.module.state_dict())


def test_an_image_classifier():
    config = dict(type="MLMTClassifier", classifier=copy.deepcopy(CLASSIFIER), epoch_iters=2,
                  data_preprocessor=dict(type="SemiSegDataPreProcessor", size=(SIZE, SIZE)),
                  frozen_encoder=True)  # fmt: skip
    model = MODELS.build(config)
    assert not any(p.requires_grad for p in model.student.backbone.parameters())
    assert any(p.requires_grad for p in model.student.head.parameters())
    assert model.teacher.module.backbone is model.student.backbone


# --- Refused --------------------------------------------------------------------------------------


def test_what_means_nothing_is_refused():
    with pytest.raises(ConfigError, match="backbone_norm_eval"):
        build(backbone_norm_eval=True)
    drop_path = dict(VIT, backbone=dict(VIT["backbone"], drop_path_rate=0.1))
    with pytest.raises(ConfigError, match="drop_path_rate=0"):
        build(segmentor=drop_path)
    with pytest.raises(ConfigError, match="no parameters"):
        freeze(nn.Identity())


@pytest.mark.parametrize("method", ["Supervised", "CPS"])
def test_a_random_encoder_is_refused(method):
    model = build(method)
    with pytest.raises(ConfigError, match="random"):
        model.prepare_training()
    other = build(method, frozen_encoder=False)
    model.load_state_dict(other.state_dict())
    model.prepare_training()
    named = build(method)
    for net in named.networks():
        net.backbone.init_cfg = dict(type="Pretrained", checkpoint="some.pth")
    named.prepare_training()


def test_a_checkpoint_with_two_encoders_is_refused():
    trained = build(frozen_encoder=False)
    state = trained.state_dict()
    build().load_state_dict(copy.deepcopy(state))
    state["teacher.module.backbone.stem.0.weight"] += 1
    with pytest.raises(CheckpointError, match="share the encoder"):
        build().load_state_dict(state)
