# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""FixMatch, both forms: what every method must do, and its step against the reference step.

Known answers: docs/methods/fixmatch.md.
"""

from __future__ import annotations

import copy

import pytest
import torch
from method_tester import MethodTester
from recorded import (
    MIXED_LOGITS,
    PASTED_LOGITS,
    WEAK_LOGITS,
    assert_state,
    check_shown_labels,
    check_step,
    expected_teacher,
    gradients,
    make_case_by_hand,
    make_method,
    make_recorded,
    total,
)
from reference.fixmatch import fixmatch_step

from mmsemi.errors import ConfigError
from mmsemi.models.forward import complete_labels, pseudo_labels
from mmsemi.models.losses import confident_cross_entropy
from mmsemi.structures import PseudoLabels

STRONG = dict(type="StrongPhotometric")
STUDENT = dict(labels_from="student")


class TestFixMatch(MethodTester):
    """The form of UniMatch-V2: labels from the teacher, pairs from the reversed batch."""

    name = "fixmatch"
    model = dict(
        type="FixMatch",
        strong=STRONG,
        mix=dict(type="SingleBoxCutMix", pairing="reverse"),
        threshold=0.4,
        labeled_forward="strong",
    )
    views_alone = dict(labeled_forward="alone")
    networks = ["student", "teacher"]
    predict_on = "teacher"
    unsup_losses = ("unsup.loss_strong",)


class TestFixMatchStudent(MethodTester):
    """The form of UniMatch: labels from the student."""

    name = "fixmatch_student"
    model = dict(
        type="FixMatch",
        strong=STRONG,
        mix=dict(type="SingleBoxCutMix", pairing="permute"),
        labels_from="student",
        threshold=0.4,
        rampup_iters=6,
    )
    unsup_losses = ("unsup.loss_strong",)


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(**settings):
        settings = {"threshold": 0.6, "strong": STRONG, **settings}
        return make_method(segmentor_config, preprocessor_config, type="FixMatch", **settings)

    return make


# --- The step -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "pairing"),
    [
        *((dict(STUDENT, labeled_forward="weak"), pairing) for pairing in ("halves", "permute")),
        *((dict(STUDENT, num_views=2), pairing) for pairing in ("permute", None)),
        (dict(STUDENT), "halves"),
        (dict(STUDENT, labeled_forward="strong"), "permute"),
        *((dict(STUDENT, pasted_mode="train"), pairing) for pairing in ("halves", "permute")),
        *((dict(labeled_forward="strong"), pairing) for pairing in ("reverse", "halves", None)),
        (dict(), "reverse"),
        *((dict(unsure_pixels="weighted", num_views=n), "permute") for n in (1, 2)),
    ],
)
def test_the_step_is_the_reference_step(build, settings, pairing):
    runner = build(**settings)
    model, reference = runner.model, copy.deepcopy(runner.model)
    recorded = make_recorded(pairing, settings.get("num_views", 1))
    teacher = reference.teacher.module if reference.has_teacher else None
    expected = recorded.reference(
        fixmatch_step, reference.student, teacher, settings=model.settings
    )
    losses = check_step(runner, recorded, expected, reference)
    assert 0.02 < losses["unsup.mask_ratio"] < 0.98


def test_the_teacher_follows_after_the_step(build):
    """Decay min(1 - 1/(k+1), 0.996), floating buffers included; it is in eval mode."""
    runner = build(labeled_forward="strong")
    model, recorded = runner.model, make_recorded("reverse")
    runner.start_step()
    total(recorded.loss(model)).backward()
    net = model.teacher.module
    assert all(p.grad is None for p in net.parameters())
    assert net.backbone.bn1.num_batches_tracked == 0 and not net.training
    runner.optim_wrapper.optimizer.step()
    steps = {**model.teacher.state_dict(), "steps": torch.tensor(9)}
    model.teacher.load_state_dict(steps)
    expected = expected_teacher(model.student, net, 1 / 10, "ema")
    for hook in runner.hooks:
        hook.after_train_iter(runner, 0)
    assert_state(net, expected)


def test_the_average_follows_the_published_warm_up(build):
    """Known answer "warm-up of the average"."""
    runner = build()
    bias, averaged = (
        net.decode_head.conv_seg.bias for net in (runner.model.student, runner.model.teacher.module)
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
        (dict(STUDENT, pasted_mode="train"), "permute", 3),
        (dict(STUDENT, pasted_mode="train"), "halves", 4),
        (dict(), "reverse", 2),
        (dict(labeled_forward="strong"), "reverse", 1),
    ],
)
def test_forwards_in_train_mode(build, settings, pairing, passes):
    runner = build(**settings)
    make_recorded(pairing).loss(runner.model)
    assert runner.model.student.backbone.bn1.num_batches_tracked == passes
    assert all(module.training for module in runner.model.student.modules())


@pytest.mark.parametrize("settings", [dict(STUDENT), dict(STUDENT, labeled_forward="weak"), dict()])
def test_the_strong_loss_gives_the_weak_view_no_gradient(build, settings):
    recorded = make_recorded("permute")
    weak = recorded.batch.unlabeled.pixels_NCHW.requires_grad_()
    strong = recorded.views[0] = recorded.views[0].detach().requires_grad_()
    loss = recorded.loss(build(**settings).model)["unsup.loss_strong"]
    to_weak, to_strong = torch.autograd.grad(loss, [weak, strong], allow_unused=True)
    assert to_weak is None and to_strong.abs().sum() > 0


@pytest.mark.parametrize("settings", [dict(STUDENT), dict()])
def test_labels_that_are_all_ignored_and_images_that_are_all_padding(build, settings):
    recorded = make_recorded("permute")
    recorded.batch.labeled.labels_NHW.fill_(255)
    recorded.batch.unlabeled.valid_NHW.zero_()
    runner = build(**settings)
    losses = recorded.loss(runner.model)
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
        values.append(make_recorded("permute").loss(runner.model)["unsup.loss_strong"])
    torch.testing.assert_close(values[1], values[0] * 0.286505, rtol=1e-5, atol=0)


def test_confidence_is_float32_under_autocast():
    outputs = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    want, labels = outputs.double().softmax(1).max(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, confidence, _ = pseudo_labels(outputs)
    assert confidence.dtype == torch.float32 and torch.equal(found, labels)
    torch.testing.assert_close(confidence.double(), want, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("settings", "pairing"), [(dict(STUDENT), "halves"), (dict(STUDENT), "permute"), ({}, None)]
)
def test_what_is_shown_of_the_labels(build, settings, pairing):
    check_shown_labels(build(**settings).model, make_recorded(pairing))


# --- Known answer: loss, mix and ignored pixels ----------------------------------------------------


def known_target(pseudo: PseudoLabels, pasted: PseudoLabels | None) -> PseudoLabels:
    case = make_case_by_hand()
    pseudo, pasted = complete_labels(pseudo, pasted, 2)
    return case.recipes[0].apply_labels(pseudo, case.batch, pasted)


@pytest.mark.parametrize(("threshold", "expected"), [(0.95, 0.1378612), (0, 1.0514447)])
def test_loss_mix_and_ignore(threshold, expected):
    target = known_target(pseudo_labels(WEAK_LOGITS), pseudo_labels(PASTED_LOGITS))
    assert target.label_NHW.tolist() == [[[0, 1, 255], [255, 0, 2]]]  # 255: ignored in the mix
    confident = [[0.964663, 0.909443, 0.964663], [0.964663, 0.909443, 0.909443]]
    assert target.confidence_NHW.flatten().tolist() == pytest.approx(sum(confident, []), abs=1e-6)
    loss = confident_cross_entropy(MIXED_LOGITS, target, threshold)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_labels_of_all_images_at_once_give_the_same_target():
    """A teacher labels both images in one forward."""
    at_once = known_target(pseudo_labels(torch.cat([WEAK_LOGITS, PASTED_LOGITS])), None)
    apart = known_target(pseudo_labels(WEAK_LOGITS), pseudo_labels(PASTED_LOGITS))
    for ours, theirs in zip(at_once[:2], apart[:2]):
        assert torch.equal(ours, theirs)


def test_a_confidence_equal_to_the_threshold_counts():
    label = torch.zeros(1, 2, 3, dtype=torch.long)
    at, below = torch.full((1, 2, 3), 0.5), torch.full((1, 2, 3), 0.4999999)
    loss = confident_cross_entropy(MIXED_LOGITS, PseudoLabels(label, at), 0.5)
    assert loss.item() == pytest.approx(0.5514447, abs=1e-6)
    assert confident_cross_entropy(MIXED_LOGITS, PseudoLabels(label, below), 0.5) == 0


@pytest.mark.parametrize("settings", [dict(STUDENT), dict()])
def test_totals(build, settings, monkeypatch):
    """Known answer "totals", for Lx = 1 and Ls = 0.4."""
    monkeypatch.setattr(
        "mmsemi.models.segmentors.base.supervised_losses",
        lambda *_: {"decode.loss_ce": torch.tensor(1.0), "decode.acc_seg": torch.tensor(50.0)},
    )
    monkeypatch.setattr(
        "mmsemi.models.segmentors.fixmatch.confident_cross_entropy",
        lambda *_, **__: torch.tensor(0.4),
    )
    losses = make_recorded("permute").loss(build(**settings).model)
    assert total(losses).item() == pytest.approx(0.7)
    assert losses["sup.decode.acc_seg"] == 50, "weights are for losses"


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        dict(labeled_forward="weak"),  # with a teacher the student never sees it
        dict(buffers="keep"),
        dict(labels_from="pupil"),
        dict(labeled_forward="x"),
        dict(pasted_mode="x"),
        dict(threshold=1.5),
        dict(threshold="0.9"),
        dict(num_views=0),
        dict(num_views=True),
        dict(strong=None, num_views=2),  # equal views
        dict(sup_weight=float("nan")),
        dict(momentum=0),
        dict(predict_on="pupil"),
        dict(STUDENT, predict_on="teacher"),
    ],
)
def test_settings_that_no_run_can_mean_are_refused(build, settings):
    name, value = list(settings.items())[-1]
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        build(**settings)


def test_missing_unlabelled_images_say_what_to_set(build):
    recorded = make_recorded()
    recorded.batch.unlabeled = None
    with pytest.raises(ConfigError, match=r"num_per_source\.unlabeled"):
        recorded.loss(build().model)
