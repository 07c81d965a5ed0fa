# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""FixMatch, both forms: what every method must do, and its step against one written out by hand.

Numbers of known answers and sections are those of methods/unimatch.md.
"""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hand_step import (
    assert_same_step,
    assert_state,
    expected_teacher,
    gradients,
    ground_truth,
    logits,
    make_batch,
    make_method,
    mix,
    total,
)
from method_tester import MethodTester

from mmsemi.models.augment import MixRecipe
from mmsemi.models.segmentors.fixmatch import Belief, Views
from mmsemi.models.segmentors.network import confidence_and_labels

STRONG = dict(type="StrongPhotometric")
STUDENT = dict(labels_from="student")


class TestFixMatch(MethodTester):
    """The form of UniMatch-V2: labels from the teacher, partners from the reversed batch."""

    name = "fixmatch"
    model = dict(type="FixMatch", semi_train_cfg=dict(threshold=0.4, labeled_forward="strong"))
    preprocessor = dict(strong=STRONG, mix=dict(type="SingleBoxCutMix", pairing="reverse"))
    networks = ["student", "teacher"]
    predict_on = "teacher"
    unsup_losses = ("unsup.loss_strong",)


class TestFixMatchStudent(MethodTester):
    """The form of UniMatch: labels from the student."""

    name = "fixmatch_student"
    model = dict(type="FixMatch", semi_train_cfg=dict(STUDENT, threshold=0.4, rampup_iters=6))
    preprocessor = dict(strong=STRONG, mix=dict(type="SingleBoxCutMix", pairing="permute"))
    unsup_losses = ("unsup.loss_strong",)


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(views: int = 1, **settings):
        if views > 1:
            preprocessor_config.update(num_student_views=views, strong=STRONG)
        settings = {"threshold": 0.5, **settings}
        return make_method(
            segmentor_config, preprocessor_config, type="FixMatch", semi_train_cfg=settings
        )

    return make


# --- The step -------------------------------------------------------------------------------------


def confidence_and_label(outputs):
    return outputs.detach().softmax(1).max(1)


def strong_losses(outputs, own, partner, inputs, views=1, threshold=0.5):
    """Section 4.6 and 4.7: the loss of each strong view, its divisor all valid pixels."""
    confidence, label = own
    valid = inputs["valid"].double()
    if inputs["mix"] is None:
        confidence, label, valid = (x.repeat(views, 1, 1) for x in (confidence, label, valid))
    else:
        confidence = mix(inputs["mix"], confidence, partner[0])
        label = mix(inputs["mix"], label.double(), partner[1].double()).long()
        valid = mix(inputs["mix"], valid, valid)
    losses = []
    for z, c, y, v in zip(*(x.chunk(views) for x in (outputs, confidence, label, valid))):
        pixel = F.cross_entropy(z, y, reduction="none")
        kept = (v == 1) & (c >= threshold)
        assert 0.1 < kept.double().mean() < 0.9
        losses.append(pixel[kept].sum() / (v == 1).sum())
    return losses


def student_step(model, inputs, samples, views=1, joint=False):
    """Sections 4.1 to 4.7 with one image stream after the other, or labelled and weak together."""
    net, weak = model.student, inputs["unsup_teacher"]
    num = len(inputs["unsup_student"]) // views
    net.eval()
    with torch.no_grad():
        partner = confidence_and_label(logits(net, weak[-num:]))
    net.train()
    if joint:
        labeled, own = logits(net, torch.cat([inputs["sup"], weak[:num]])).split([2, num])
    else:
        labeled = logits(net, inputs["sup"])
        with torch.no_grad():
            own = logits(net, weak[:num])
    strong = logits(net, inputs["unsup_student"])
    own = confidence_and_label(own)
    if num < len(weak):  # indices of the mix are those of the whole batch
        own = partner = [torch.cat(pair) for pair in zip(own, partner)]
    losses = strong_losses(strong, own, partner, inputs, views)
    supervised = F.cross_entropy(labeled, ground_truth(samples), ignore_index=255)
    return supervised, sum(losses) / len(losses)


def check_step(runner, inputs, samples, by_hand, skip=()):
    """The method's step equals (Lx + Ls) / 2 of the one by hand."""
    model, reference = runner.model, copy.deepcopy(runner.model)
    runner.start_step()
    losses = model.loss(inputs, samples)
    supervised, strong = by_hand(reference, inputs, samples)
    torch.testing.assert_close(losses["sup.decode.loss_ce"], 0.5 * supervised)
    torch.testing.assert_close(
        losses["unsup.loss_strong"].double(), 0.5 * strong, rtol=1e-6, atol=0
    )
    total(losses).backward()
    (0.5 * (supervised + strong)).backward()
    assert_same_step(model, reference, skip)


@pytest.mark.parametrize("pairing", ["halves", "permute"])
def test_student_step_equals_the_one_written_out(build, pairing):
    """The released form: labelled and weak images together; partners in eval mode.

    The running statistics are equal too, hence the partners' forward left them alone.
    """
    runner = build(**STUDENT, labeled_forward="weak")
    inputs, samples = make_batch(pairing)
    check_step(runner, inputs, samples, partial(student_step, joint=True))
    assert runner.model.student.backbone.bn1.num_batches_tracked == 2


@pytest.mark.parametrize(("pairing", "views"), [("halves", 1), ("permute", 2), (None, 2)])
def test_student_step_without_a_shared_forward(build, pairing, views):
    """Each stream has statistics of its own; their order, and thus the running ones, are free."""
    runner = build(views, **STUDENT)
    inputs, samples = make_batch(pairing, views)
    check_step(runner, inputs, samples, partial(student_step, views=views), skip=["running"])
    assert runner.model.student.backbone.bn1.num_batches_tracked == 3


def teacher_step(model, inputs, samples):
    """Section 5 without the second view and without dropout: cat(x, s1) in one forward."""
    with torch.no_grad():
        belief = confidence_and_label(logits(model.teacher.eval(), inputs["unsup_teacher"]))
    both = logits(model.student, torch.cat([inputs["sup"], inputs["unsup_student"]]))
    labeled, strong = both.split([2, len(both) - 2])
    (loss,) = strong_losses(strong, belief, belief, inputs)
    return F.cross_entropy(labeled, ground_truth(samples), ignore_index=255), loss


@pytest.mark.parametrize("pairing", ["reverse", "halves", None])
def test_teacher_step_equals_the_one_written_out(build, pairing):
    """And the average behind it: decay min(1 - 1/(k+1), 0.996), floating buffers included."""
    runner = build(labeled_forward="strong")
    model = runner.model
    check_step(runner, *make_batch(pairing), teacher_step)
    assert all(p.grad is None for p in model.teacher.parameters())
    assert model.teacher.backbone.bn1.num_batches_tracked == 0 and not model.teacher.training
    runner.optim_wrapper.optimizer.step()
    runner.message_hub.update_info("mean_teacher_steps", 9)
    expected = expected_teacher(model.student, model.teacher, 1 / 10, "ema")
    for hook in runner.hooks:
        hook.after_train_iter(runner, 0)
    assert_state(model.teacher, expected)


def test_the_average_follows_the_published_warm_up(build):
    """Known answer 3, with the settings that the method asks its hook for."""
    runner = build()
    bias, averaged = (
        net.decode_head.conv_seg.bias for net in (runner.model.student, runner.model.teacher)
    )
    found = []
    with torch.no_grad():
        for step in range(501):
            bias.fill_(float(step))
            runner.hooks[0].after_train_iter(runner, step)
            found.append(averaged[0].item())
    expected = {0: 0, 1: 0.5, 10: 5, 249: 124.5, 250: 125.002, 500: 296.526399}
    assert {step: found[step] for step in expected} == pytest.approx(expected, abs=1e-6)


# --- What touches what ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "pairing", "passes"),
    [
        (dict(STUDENT), "permute", 3),
        (dict(STUDENT, labeled_forward="weak"), "permute", 2),
        (dict(STUDENT, labeled_forward="strong"), "permute", 2),
        (dict(STUDENT, partner_mode="train"), "permute", 3),
        (dict(STUDENT, partner_mode="train"), "halves", 4),
        (dict(), "reverse", 2),
        (dict(labeled_forward="strong"), "reverse", 1),
    ],
)
def test_forwards_in_train_mode(build, settings, pairing, passes):
    runner = build(**settings)
    runner.model.loss(*make_batch(pairing))
    assert runner.model.student.backbone.bn1.num_batches_tracked == passes
    assert all(module.training for module in runner.model.student.modules())


@pytest.mark.parametrize("settings", [dict(STUDENT), dict(STUDENT, labeled_forward="weak"), dict()])
def test_the_strong_loss_gives_the_weak_view_no_gradient(build, settings):
    inputs, samples = make_batch("permute")
    weak = inputs["unsup_teacher"].requires_grad_()
    student = inputs["unsup_student"] = inputs["unsup_student"].requires_grad_()
    loss = build(**settings).model.loss(inputs, samples)["unsup.loss_strong"]
    to_weak, to_student = torch.autograd.grad(loss, [weak, student], allow_unused=True)
    assert to_weak is None and to_student.abs().sum() > 0


@pytest.mark.parametrize("settings", [dict(STUDENT), dict()])
def test_labels_that_are_all_ignored_and_images_that_are_all_padding(build, settings):
    inputs, samples = make_batch("permute")
    for sample in samples["sup"]:
        sample.gt_sem_seg.data.fill_(255)
    inputs["valid"].zero_()
    runner = build(**settings)
    losses = runner.model.loss(inputs, samples)
    for key in ("sup.decode.loss_ce", "unsup.loss_strong"):
        assert losses[key] == 0 and losses[key].requires_grad, key
    assert losses["unsup.mask_ratio"] == 0
    total(losses).backward()
    assert all((gradient == 0).all() for gradient in gradients(runner.model).values())


def test_the_weight_follows_the_ramp_up(build):
    values = []
    for settings in (dict(), dict(rampup_iters=10)):
        runner = build(**settings)
        runner.message_hub.update_info("iter", 5)
        values.append(runner.model.loss(*make_batch("permute"))["unsup.loss_strong"])
    torch.testing.assert_close(values[1], values[0] * 0.286505, rtol=1e-5, atol=0)


def test_confidence_is_float32_under_autocast():
    outputs = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    want, labels = outputs.double().softmax(1).max(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        confidence, found = confidence_and_labels(outputs)
    assert confidence.dtype == torch.float32 and torch.equal(found, labels)
    torch.testing.assert_close(confidence.double(), want, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("settings", "pairing"), [(dict(STUDENT), "halves"), (dict(STUDENT), "permute"), ({}, None)]
)
def test_what_is_shown_of_the_labels(build, settings, pairing):
    inputs, samples = make_batch(pairing)
    model = build(**settings).model
    model.keep_visuals = True
    losses = model.loss(inputs, samples)
    shown = model.visuals
    assert shown["label"].shape == shown["confidence"].shape == (4, 16, 16)
    assert shown["target"].shape == (len(inputs["unsup_student"]), 16, 16)
    valid = inputs["valid"]
    valid = valid if pairing is None else inputs["mix"].apply(valid)
    share = (shown["target"] != 255).sum() / valid.sum()
    torch.testing.assert_close(losses["unsup.mask_ratio"], share)


# --- Known answer 1 -------------------------------------------------------------------------------


def image(*rows: list[tuple[float, float, float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).permute(2, 0, 1)[None]


WEAK = image([(4, 0, 0), (0, 3, 0), (0, 0, 4)], [(0, 4, 0), (3, 0, 0), (4, 0, 0)])
PARTNER = image([(0, 4, 0)] * 3, [(0, 4, 0), (0, 4, 0), (0, 0, 3)])
STRONG_LOGITS = image([(1, 0, 0)] * 3, [(1, 0, 0)] * 3)


def hand_case() -> dict:
    """The image is ignored at (1, 0), its partner at (0, 2); the box is column 2."""
    valid = torch.ones(2, 2, 3, dtype=torch.bool)
    valid[0, 1, 0] = valid[1, 0, 2] = False
    mask = torch.zeros(1, 1, 2, 3, dtype=torch.bool)
    mask[..., 2] = True
    recipe = MixRecipe(mask, torch.tensor([0]), torch.tensor([1]))
    return dict(unsup_teacher=torch.zeros(2, 3, 2, 3), valid=valid, mix=recipe)


@pytest.mark.parametrize(("threshold", "expected"), [(0.95, 0.1378612), (0, 1.0514447)])
def test_loss_mix_and_ignore(build, threshold, expected):
    model = build(**STUDENT, threshold=threshold, unsup_weight=0.5).model
    belief, partner = model._belief(WEAK), model._belief(PARTNER)
    target = model._target(hand_case(), belief, partner)
    assert target.label_NHW.tolist() == [[[0, 1, 255], [255, 0, 2]]]  # 255: ignored in the mix
    confident = [[0.964663, 0.909443, 0.964663], [0.964663, 0.909443, 0.909443]]
    assert target.confidence_NHW.flatten().tolist() == pytest.approx(sum(confident, []), abs=1e-6)
    views = Views(labeled=None, strong_NCHW=STRONG_LOGITS)
    assert model._strong_loss(views, target).item() == pytest.approx(expected, abs=1e-6)
    weighted = model._unsupervised(hand_case(), views, belief, target)
    assert list(weighted) == ["unsup.loss_strong"]
    assert weighted["unsup.loss_strong"].item() == pytest.approx(expected / 2, abs=1e-6)


def test_one_belief_about_all_images_gives_the_same_target(build):
    """A teacher labels image and partner in one forward."""
    model = build().model
    both = model._belief(torch.cat([WEAK, PARTNER]))
    separate = model._target(hand_case(), model._belief(WEAK), model._belief(PARTNER))
    for ours, theirs in zip(model._target(hand_case(), both, None), separate):
        assert torch.equal(ours, theirs)


def test_a_confidence_equal_to_the_threshold_counts(build):
    model = build(threshold=0.5).model
    label = torch.zeros(1, 2, 3, dtype=torch.long)
    at, below = torch.full((1, 2, 3), 0.5), torch.full((1, 2, 3), 0.4999999)
    views = Views(labeled=None, strong_NCHW=STRONG_LOGITS)
    assert model._strong_loss(views, Belief(at, label)).item() == pytest.approx(0.5514447, abs=1e-6)
    assert model._strong_loss(views, Belief(below, label)) == 0


@pytest.mark.parametrize("settings", [dict(STUDENT), dict()])
def test_totals(build, settings, monkeypatch):
    """Known answer 2, for Lx = 1 and Ls = 0.4."""
    monkeypatch.setattr(
        "mmsemi.models.segmentors.base.supervised_losses",
        lambda *_: {"decode.loss_ce": torch.tensor(1.0), "decode.acc_seg": torch.tensor(50.0)},
    )
    model = build(**settings).model
    model._confident_loss = lambda *_: torch.tensor(0.4)
    losses = model.loss(*make_batch("permute"))
    assert total(losses).item() == pytest.approx(0.7)
    assert losses["sup.decode.acc_seg"] == 50, "weights are for losses"


# --- Messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(labeled_forward="weak"), "labeled_forward='weak' needs labels_from='student'"),
        (dict(buffers="keep"), "buffers='keep' is for teachers in train mode"),
        (dict(labels_from="pupil"), "labels_from='pupil' is none of 'teacher', 'student'"),
        (dict(labeled_forward="x"), "labeled_forward='x' is none of 'alone', 'weak', 'strong'"),
        (dict(partner_mode="x"), "partner_mode='x' is none of 'eval', 'train'"),
    ],
)
def test_settings_that_do_not_work_are_refused(build, settings, message):
    with pytest.raises(ValueError, match=f"FixMatch.semi_train_cfg.{message}"):
        build(**settings)


def test_missing_unlabelled_images_say_what_to_set(build):
    inputs, samples = make_batch()
    with pytest.raises(ValueError, match="num_per_source.unlabeled to at least 1"):
        build().model.loss(dict(sup=inputs["sup"]), samples)
