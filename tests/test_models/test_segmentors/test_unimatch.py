# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""UniMatch V1: what every method must do, and its step against one written out by hand.

Numbers of known answers and sections are those of methods/unimatch.md.
"""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hand_step import (
    assert_same_step,
    gradients,
    ground_truth,
    logits,
    make_batch,
    make_method,
    mix,
    total,
    upsample,
)
from method_tester import MethodTester
from mmengine.optim import PolyLR
from mmseg.registry import MODELS
from torch import nn

from mmsemi.models.augment import MixRecipe
from mmsemi.models.losses import ohem_cross_entropy
from mmsemi.models.segmentors.fixmatch import Views
from mmsemi.models.segmentors.unimatch import drop_channels

STRONG = dict(type="StrongPhotometric")


class TestUniMatch(MethodTester):
    name = "unimatch"
    model = dict(type="UniMatch", semi_train_cfg=dict(threshold=0.4, rampup_iters=6))
    preprocessor = dict(
        num_student_views=2, strong=STRONG, mix=dict(type="SingleBoxCutMix", pairing="halves")
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
    preprocessor_config.update(num_student_views=2, strong=STRONG)

    def make(**settings):
        settings = {"threshold": 0.45, **settings}
        return make_method(
            segmentor_config, preprocessor_config, type="UniMatch", semi_train_cfg=settings
        )

    return make


# --- The step (section 4) -------------------------------------------------------------------------


def confidence_and_label(outputs):
    return outputs.detach().softmax(1).max(1)


def masked_loss(outputs, confidence, label, valid, threshold=0.45):
    """4.7: sum over valid and confident pixels, divided by the number of valid ones."""
    kept = (valid == 1) & (confidence >= threshold)
    assert 0.1 < kept.double().mean() < 0.9
    return F.cross_entropy(outputs, label, reduction="none")[kept].sum() / (valid == 1).sum()


def step_by_hand(model, inputs, samples, joint, alone):
    """4.1 to 4.7 with the channel masks of seed 3; returns Lx, Ls1, Ls2, Lfp."""
    net, weak, recipe = model.student, inputs["unsup_teacher"], inputs["mix"]
    num = len(inputs["unsup_student"]) // 2
    net.eval()
    with torch.no_grad():
        partner = confidence_and_label(logits(net, weak[-num:]))
    net.train()
    # Pass A: one encoder forward for labelled and weak images.
    labeled = logits(net, inputs["sup"]) if alone else None
    feats = net.backbone(weak[:num] if alone else torch.cat([inputs["sup"], weak[:num]]))
    torch.manual_seed(3)
    if alone:
        perturbed = upsample(net, net.decode_head([F.dropout2d(feat, 0.5) for feat in feats]))
        own = upsample(net, net.decode_head(feats))
    elif joint:
        dropped = [F.dropout2d(feat, 0.5) for feat in feats]
        decoded = net.decode_head([torch.cat(pair) for pair in zip(feats, dropped)])
        labeled, own, _, perturbed = upsample(net, decoded).split([2, num, 2, num])
    else:
        dropped = [F.dropout2d(feat[2:], 0.5) for feat in feats]
        decoded = net.decode_head([torch.cat([a[:2], b]) for a, b in zip(feats, dropped)])
        labeled, perturbed = upsample(net, decoded).split([2, num])
        own = upsample(net, net.decode_head([feat[2:] for feat in feats]))
    strong = logits(net, inputs["unsup_student"])  # pass B
    own, valid = confidence_and_label(own), inputs["valid"].double()
    feature_loss = masked_loss(perturbed, *own, valid[:num])
    if num < len(weak):  # indices of the mix are those of the whole batch
        own = partner = [torch.cat(pair) for pair in zip(own, partner)]
    confidence = mix(recipe, own[0], partner[0])
    label = mix(recipe, own[1].double(), partner[1].double()).long()
    views = zip(*(x.chunk(2) for x in (strong, confidence, label, mix(recipe, valid, valid))))
    supervised = F.cross_entropy(labeled, ground_truth(samples), ignore_index=255)
    return supervised, *(masked_loss(*view) for view in views), feature_loss


def published_total(supervised, strong_1, strong_2, feature):
    """4.8."""
    return (supervised + 0.25 * strong_1 + 0.25 * strong_2 + 0.5 * feature) / 2


@pytest.mark.parametrize("pairing", ["halves", "permute"])
@pytest.mark.parametrize(("joint", "alone"), [(True, False), (False, False), (False, True)])
def test_step_equals_the_one_written_out(build, pairing, joint, alone):
    """``joint_decoder`` is the released form with its running statistics, everywhere.

    The other forms differ from it in the batch-norm statistics, the second in the decoder's alone.
    """
    inputs, samples = make_batch(pairing, views=2)
    runner = build(joint_decoder=joint, labeled_forward="alone" if alone else "weak")
    model, reference = runner.model, copy.deepcopy(runner.model)
    torch.manual_seed(3)
    losses = model.loss(inputs, samples)
    parts = step_by_hand(reference, inputs, samples, joint, alone)
    expected = (0.5 * parts[0], 0.125 * (parts[1] + parts[2]), 0.25 * parts[3])
    keys = ("sup.decode.loss_ce", "unsup.loss_strong", "unsup.loss_feature")
    assert {key for key in losses if "loss" in key} == set(keys)
    for key, value in zip(keys, expected):
        assert value > 0.01
        torch.testing.assert_close(losses[key].double(), value, rtol=1e-6, atol=0)
    total(losses).backward()
    published_total(*parts).backward()
    assert_same_step(model, reference, skip=() if joint else ["decode_head"])


def test_each_loss_gives_gradient_to_its_view_alone(build):
    """4.8: the encoder hears of the weak view through the perturbed features only."""
    inputs, samples = make_batch("permute", views=2)
    weak = inputs["unsup_teacher"].requires_grad_()
    student = inputs["unsup_student"] = inputs["unsup_student"].requires_grad_()
    losses = build().model.loss(inputs, samples)
    for key, from_weak, from_student in (
        ("unsup.loss_strong", False, True),
        ("unsup.loss_feature", True, False),
    ):
        found = torch.autograd.grad(
            losses[key], [weak, student], retain_graph=True, allow_unused=True
        )
        assert [g is not None and bool(g.any()) for g in found] == [from_weak, from_student], key


@pytest.mark.parametrize("joint", [False, True])
def test_forwards_in_train_mode(build, joint):
    """Encoder: labelled with weak, and strong. The partners' forward leaves no trace."""
    runner = build(joint_decoder=joint)
    runner.model.loss(*make_batch("halves", views=2))
    student = runner.model.student
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
    inputs, samples = make_batch("halves", views=2)
    for sample in samples["sup"]:
        sample.gt_sem_seg.data.fill_(255)
    inputs["valid"].zero_()
    runner = build()
    losses = runner.model.loss(inputs, samples)
    assert total(losses) == 0 and losses["unsup.loss_feature"].requires_grad
    total(losses).backward()
    assert all((gradient == 0).all() for gradient in gradients(runner.model).values())


def test_the_weights_follow_the_ramp_up(build):
    found = []
    for settings in (dict(), dict(rampup_iters=10)):
        runner = build(**settings)
        runner.message_hub.update_info("iter", 5)
        torch.manual_seed(3)
        found.append(runner.model.loss(*make_batch("halves", views=2)))
    for key in ("unsup.loss_strong", "unsup.loss_feature"):
        torch.testing.assert_close(found[1][key], found[0][key] * 0.286505, rtol=1e-5, atol=0)
    assert torch.equal(found[0]["sup.decode.loss_ce"], found[1]["sup.decode.loss_ce"])


# --- Known answers --------------------------------------------------------------------------------


def image(*rows: list[tuple[float, float, float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).permute(2, 0, 1)[None]


@pytest.mark.parametrize(
    ("threshold", "strong", "feature"), [(0.95, 0.1378612, 0.5308669), (0, 1.0514447, None)]
)
def test_loss_mix_and_ignore(build, threshold, strong, feature):
    """Known answer 1, twice the same strong view; the perturbed features see the unmixed label."""
    model = build(threshold=threshold).model
    weak = image([(4, 0, 0), (0, 3, 0), (0, 0, 4)], [(0, 4, 0), (3, 0, 0), (4, 0, 0)])
    paste = image([(0, 4, 0)] * 3, [(0, 4, 0), (0, 4, 0), (0, 0, 3)])
    student = image([(1, 0, 0)] * 3, [(1, 0, 0)] * 3)
    valid = torch.ones(2, 2, 3, dtype=torch.bool)
    valid[0, 1, 0] = valid[1, 0, 2] = False
    mask = torch.zeros(1, 1, 2, 3, dtype=torch.bool)
    mask[..., 2] = True
    recipe = MixRecipe.concatenate([MixRecipe(mask, torch.tensor([0]), torch.tensor([1]))] * 2)
    inputs = dict(unsup_teacher=torch.zeros(2, 3, 2, 3), valid=valid, mix=recipe)
    belief = model._belief(weak)
    target = model._target(inputs, belief, model._belief(paste))
    views = Views(None, torch.cat([student] * 2), belief, student)
    losses = model._unsupervised(inputs, views, belief, target)
    assert losses["unsup.loss_strong"].item() == pytest.approx(strong / 4, abs=1e-6)
    if feature is not None:
        assert losses["unsup.loss_feature"].item() == pytest.approx(feature / 4, abs=1e-6)


def test_totals(build, monkeypatch):
    """Known answer 2: Lx = 1, Ls1 = 0.4, Ls2 = 0.6, Lfp = 0.2."""
    assert published_total(1, 0.4, 0.6, 0.2) == pytest.approx(0.675)
    monkeypatch.setattr(
        "mmsemi.models.segmentors.base.supervised_losses",
        lambda *_: {"decode.loss_ce": torch.tensor(1.0)},
    )
    model, values = build().model, iter([0.2, 0.4, 0.6])  # in the order of the calls
    model._confident_loss = lambda *_: torch.tensor(next(values))
    assert total(model.loss(*make_batch("halves", views=2))).item() == pytest.approx(0.675)


@pytest.mark.parametrize(
    ("min_kept", "expected"), [(2, 1.0121847), (5, 0.7094760), (10, 0.4307337)]
)
def test_hard_pixels(min_kept, expected):
    """Known answer 6; the tenth pixel is ignored."""
    probability = torch.tensor([0.99, 0.95, 0.9, 0.85, 0.8, 0.75, 0.6, 0.4, 0.2, 0.5])
    outputs = torch.stack([probability, 1 - probability]).log()[None, :, None]
    labels = torch.zeros(1, 1, 10, dtype=torch.long)
    labels[..., -1] = 255
    loss = ohem_cross_entropy(outputs, labels, thresh=0.7, min_kept=min_kept)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_learning_rates_are_plain_poly():
    """Known answer 8, the form without lag: ``end`` is one more than the number of steps."""
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
    """Known answer 9, ResNet-101; the other depths are in test_deeplabv3plus_head.py."""
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


# --- Messages -------------------------------------------------------------------------------------


def test_settings_that_do_not_work_are_refused(build):
    for key in ("partner_mode", "labeled_forward"):
        with pytest.raises(ValueError, match=f"UniMatch.semi_train_cfg.{key}='x' is none of"):
            build(**{key: "x"})
    with pytest.raises(ValueError, match="'labels_from' in UniMatch.semi_train_cfg"):
        build(labels_from="teacher")
