# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""UniMatch V1: what every method must do, and its step against the reference step.

Known answers: docs/methods/unimatch.md.
"""

from __future__ import annotations

import copy

import pytest
import torch
from method_tester import MethodTester
from mmengine.optim import PolyLR
from mmseg.registry import MODELS
from recorded import (
    MIXED_LOGITS,
    PASTED_LOGITS,
    WEAK_LOGITS,
    check_shown_labels,
    check_step,
    gradients,
    make_case_by_hand,
    make_method,
    make_recorded,
    total,
)
from reference.unimatch import unimatch_step
from torch import nn

from mmsemi.errors import ConfigError
from mmsemi.models.forward import Outputs, pseudo_labels
from mmsemi.models.losses import ohem_cross_entropy
from mmsemi.models.segmentors.unimatch import drop_channels

UNIMATCH = "mmsemi.models.segmentors.unimatch"


class TestUniMatch(MethodTester):
    name = "unimatch"
    model = dict(
        type="UniMatch",
        strong=dict(type="StrongPhotometric"),
        mix=dict(type="SingleBoxCutMix", pairing="halves"),
        threshold=0.4,
        rampup_iters=6,
    )
    unsup_losses = ("unsup.loss_strong", "unsup.loss_feature")


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    """With mmseg's DeepLabv3+, which reads two feature maps and names one in ``in_index``."""
    head = segmentor_config["decode_head"]
    head.pop("num_convs")
    head.update(
        type="DepthwiseSeparableASPPHead", dilations=(1, 2), c1_in_channels=4, c1_channels=4
    )

    def make(**settings):
        settings = {"threshold": 0.45, "strong": dict(type="StrongPhotometric"), **settings}
        return make_method(segmentor_config, preprocessor_config, type="UniMatch", **settings)

    return make


# --- The step -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairing", ["halves", "permute", None])
@pytest.mark.parametrize(
    "settings",
    [
        dict(joint_decoder=True),  # the released form
        dict(),
        dict(labeled_forward="alone"),
        dict(labeled_forward="alone", joint_decoder=True),
        dict(pasted_mode="train"),
        dict(num_views=3, feature_weight=0.2, sup_weight=0.7, unsup_weight=2.0),
    ],
)
def test_the_step_is_the_reference_step(build, settings, pairing, monkeypatch):
    """With the same channels dropped; the forms differ in the batch-norm statistics."""
    runner = build(**settings)
    model, reference = runner.model, copy.deepcopy(runner.model)
    cfg, recorded = model.settings, make_recorded(pairing, model.settings.num_views)
    num_dropped = 2 if pairing == "halves" else 4
    if cfg.joint_decoder and cfg.labeled_forward == "weak":
        num_dropped += len(recorded.batch.labeled)
    ones = tuple(torch.ones(num_dropped, channels, 1, 1).double() for channels in (4, 8))
    factors = drop_channels(ones, cfg.feature_dropout)

    def drop_recorded(feats, probability):
        assert probability == 0.5 and [f.shape[:2] for f in feats] == [f.shape[:2] for f in factors]
        return tuple(feat * factor for feat, factor in zip(feats, factors))

    monkeypatch.setattr(f"{UNIMATCH}.drop_channels", drop_recorded)
    expected = recorded.reference(
        unimatch_step, reference.student, settings=cfg, channel_factors=factors
    )
    assert all(value > 0.01 for value in expected.values())
    losses = check_step(runner, recorded, expected, reference)
    assert 0.1 < losses["unsup.mask_ratio"] < 0.9


def test_each_loss_gives_gradient_to_its_view_alone(build):
    """The encoder hears of the weak view through the perturbed features only."""
    recorded = make_recorded("permute", views=2)
    weak = recorded.batch.unlabeled.pixels_NCHW.requires_grad_()
    strong = [view.detach().requires_grad_() for view in recorded.views]
    recorded.views = strong
    losses = recorded.loss(build().model)
    for key, from_weak, from_strong in (
        ("unsup.loss_strong", False, True),
        ("unsup.loss_feature", True, False),
    ):
        found = torch.autograd.grad(
            losses[key], [weak, *strong], retain_graph=True, allow_unused=True
        )
        found = [g is not None and bool(g.any()) for g in found]
        assert found == [from_weak, from_strong, from_strong], key


@pytest.mark.parametrize("joint", [False, True])
def test_forwards_in_train_mode(build, joint):
    """Encoder: labelled with weak, and strong. The forward of the pasted images leaves no trace."""
    model = build(joint_decoder=joint).model
    make_recorded("halves", views=2).loss(model)
    student = model.student
    assert student.backbone.bn1.num_batches_tracked == 2
    assert student.decode_head.bottleneck.bn.num_batches_tracked == (2 if joint else 3)
    assert all(module.training for module in student.modules())


def test_channels_are_dropped_whole_and_the_rest_is_doubled():
    torch.manual_seed(0)
    feats = (torch.rand(50, 8, 3, 5) + 1, [torch.rand(50, 4, 2, 2) + 1], torch.ones(50, 7))
    dropped = drop_channels(feats, 0.5)
    assert dropped[2] is feats[2], "not a feature map"
    ratios = []
    for ours, before in ((dropped[0], feats[0]), (dropped[1][0], feats[1][0])):
        ratio = (ours / before).flatten(2)
        assert (ratio == ratio[..., :1]).all() and set(ratio.unique().tolist()) == {0.0, 2.0}
        ratios.append(ratio[..., 0])
    assert ratios[0].mean().item() == pytest.approx(1, abs=0.1)
    assert not torch.equal(ratios[0][:, :4], ratios[1]), "maps have masks of their own"
    assert not torch.equal(ratios[0][0], ratios[0][1]), "images have masks of their own"


def test_labels_that_are_all_ignored_and_images_that_are_all_padding(build):
    recorded = make_recorded("halves", views=2)
    recorded.batch.labeled.labels_NHW.fill_(255)
    recorded.batch.unlabeled.valid_NHW.zero_()
    runner = build()
    losses = recorded.loss(runner.model)
    assert total(losses) == 0 and losses["unsup.loss_feature"].requires_grad
    total(losses).backward()
    assert all((gradient == 0).all() for gradient in gradients(runner.model).values())


def test_the_weights_follow_the_ramp_up(build):
    found = []
    for settings in (dict(), dict(rampup_iters=10)):
        runner = build(**settings)
        runner.message_hub.update_info("iter", 5)
        torch.manual_seed(3)
        found.append(make_recorded("halves", views=2).loss(runner.model))
    for key in ("unsup.loss_strong", "unsup.loss_feature"):
        torch.testing.assert_close(found[1][key], found[0][key] * 0.286505, rtol=1e-5, atol=0)
    assert torch.equal(found[0]["sup.decode.loss_ce"], found[1]["sup.decode.loss_ce"])


@pytest.mark.parametrize("pairing", ["halves", "permute", None])
def test_what_is_shown_of_the_labels(build, pairing):
    check_shown_labels(build().model, make_recorded(pairing, views=2))


# --- Known answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "strong", "feature"), [(0.95, 0.1378612, 0.5308669), (0, 1.0514447, None)]
)
def test_loss_mix_and_ignore(build, threshold, strong, feature, monkeypatch):
    """Known answer "loss by hand": the step on given logits, twice the same strong view.

    The perturbed features see the unmixed label.
    """
    model = build(threshold=threshold).model
    model.supervised = lambda *_: {}
    outputs = [Outputs(None, [], z) for z in (MIXED_LOGITS, WEAK_LOGITS, MIXED_LOGITS)]
    model._forward_weak = lambda *_: outputs
    monkeypatch.setattr(f"{UNIMATCH}.label_pasted", lambda *_: pseudo_labels(PASTED_LOGITS))
    strong_outputs = Outputs(None, [], torch.cat([MIXED_LOGITS] * 2))
    model.forward_strong = lambda *_: strong_outputs
    losses = make_case_by_hand(views=2).loss(model)
    assert losses["unsup.loss_strong"].item() == pytest.approx(strong / 4, abs=1e-6)
    if feature is not None:
        assert losses["unsup.loss_feature"].item() == pytest.approx(feature / 4, abs=1e-6)


def test_totals(build, monkeypatch):
    """Known answer "total": Lx = 1, Ls1 = 0.4, Ls2 = 0.6, Lfp = 0.2."""
    monkeypatch.setattr(
        "mmsemi.models.segmentors.base.supervised_losses",
        lambda *_: {"decode.loss_ce": torch.tensor(1.0), "decode.acc_seg": torch.tensor(50.0)},
    )
    values = iter([torch.tensor([0.4, 0.6]).mean(), torch.tensor(0.2)])  # in the order of the calls
    monkeypatch.setattr(f"{UNIMATCH}.confident_cross_entropy", lambda *_: next(values))
    losses = make_recorded("halves", views=2).loss(build().model)
    assert total(losses).item() == pytest.approx(0.675)
    assert losses["sup.decode.acc_seg"] == 50, "weights are for losses"


@pytest.mark.parametrize(
    ("min_kept", "expected"), [(2, 1.0121847), (5, 0.7094760), (10, 0.4307337)]
)
def test_hard_pixels(min_kept, expected):
    """Known answer "hard pixels"; the tenth pixel is ignored."""
    probability = torch.tensor([0.99, 0.95, 0.9, 0.85, 0.8, 0.75, 0.6, 0.4, 0.2, 0.5])
    outputs = torch.stack([probability, 1 - probability]).log()[None, :, None]
    labels = torch.zeros(1, 1, 10, dtype=torch.long)
    labels[..., -1] = 255
    loss = ohem_cross_entropy(outputs, labels, thresh=0.7, min_kept=min_kept)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_learning_rates_are_plain_poly():
    """Known answer "learning rate": ``end`` is one more than the number of steps."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.001)
    schedule = PolyLR(optimizer, power=0.9, eta_min=0.0, begin=0, end=1001, by_epoch=False)
    rates = []
    for _ in range(1000):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    expected = {
        0: 0.001, 1: 9.99099955e-4, 2: 9.98199820e-4, 500: 5.35886731e-4, 999: 1.99526231e-6
    }  # fmt: skip
    for step, rate in expected.items():
        assert rates[step] == pytest.approx(rate, rel=1e-6), step


@pytest.mark.parametrize(("num_classes", "expected"), [(21, 59_468_085), (19, 59_467_571)])
def test_published_net_has_the_published_size(num_classes, expected):
    """Known answer "network", ResNet-101; the other depths are in test_deeplabv3plus_head.py."""
    backbone = dict(
        type="ResNetV1c",
        depth=101,
        stem_channels=128,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        contract_dilation=True,
        init_cfg=None,
    )
    head = dict(type="DeepLabV3PlusHead", aspp_form="cps", num_classes=num_classes)
    with torch.device("meta"):
        net = nn.ModuleList([MODELS.build(backbone), MODELS.build(head)])
    assert sum(parameter.numel() for parameter in net.parameters()) == expected


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        dict(pasted_mode="x"),
        dict(labeled_forward="x"),
        dict(num_views=0),
        dict(threshold=1.5),
        dict(feature_weight=1.1),
        dict(feature_dropout=-0.1),
        dict(joint_decoder=1),
        dict(rampup_iters=-1),
        dict(predict_on="teacher"),
    ],
)
def test_settings_that_no_run_can_mean_are_refused(build, settings):
    ((name, value),) = settings.items()
    with pytest.raises(ConfigError, match=f"UniMatch.{name}={value!r}"):
        build(**settings)


def test_views_that_nothing_makes_different_are_refused(build):
    with pytest.raises(ConfigError, match=r"UniMatch.num_views=2.*strong.*mix"):
        build(strong=None)
    assert build(strong=None, num_views=1).model.strong is None
    assert build(strong=None, mix=dict(type="CutMix")).model.settings.num_views == 2


def test_there_is_no_teacher_that_could_label(build):
    with pytest.raises(ConfigError, match="UniMatch .*'labels_from'"):
        build(labels_from="teacher")
