# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""PrevMatch on both of its base methods: what every method must do, and the step against the reference.

Known answers: docs/methods/prevmatch.md.
"""

from __future__ import annotations

import copy

import pytest
import torch
from method_tester import MethodTester
from recorded import (
    check_step,
    gradients,
    make_method,
    make_recorded,
    total,
)
from reference.prevmatch import prevfixmatch_step, prevmatch_step
from torch import Tensor, nn
from watchers import snapshot

from mmsemi.errors import ConfigError
from mmsemi.models.losses import rise_and_fall
from mmsemi.models.previous_networks import draw_members
from mmsemi.models.segmentors.unimatch import drop_channels

PREVMATCH = "mmsemi.models.segmentors.prevmatch"
UNIMATCH = "mmsemi.models.segmentors.unimatch"
STRONG = dict(type="StrongPhotometric")
PREVIOUS = dict(num_networks=3, max_drawn=2, copy_every=1, previous_threshold=0.4)


class TestPrevMatch(MethodTester):
    """On UniMatch, as published."""

    name = "prevmatch"
    model = dict(
        type="PrevMatch",
        strong=STRONG,
        mix=dict(type="SingleBoxCutMix", pairing="permute"),
        threshold=0.4,
        **PREVIOUS,
    )
    unsup_losses = ("unsup.loss_strong", "unsup.loss_feature")

    def test_earlier_networks_teach(self, straight, resumed):
        """From the second iteration on, also in the resumed run."""
        for key in ("prev.loss_strong", "prev.loss_feature"):
            found = [values[key] for values in straight.recorder.values.values()]
            assert found[0] == 0 and all(value > 0 for value in found[1:]), key
        for runner in (straight, resumed):
            members = runner.model.previous.members
            assert [member.iteration for member in members] == [1, 2, 3]
        for ours, theirs in zip(straight.model.previous.members, resumed.model.previous.members):
            for name, value in ours.net.state_dict().items():
                assert torch.equal(value, theirs.net.state_dict()[name]), name


class TestPrevFixMatch(MethodTester):
    """On FixMatch with a teacher; every step has two earlier networks."""

    name = "prevfixmatch"
    model = dict(
        type="PrevFixMatch",
        strong=STRONG,
        mix=dict(type="SingleBoxCutMix", pairing="reverse"),
        threshold=0.4,
        previous_curve="constant",
        **PREVIOUS,
    )
    networks = ["student", "teacher"]
    predict_on = "teacher"
    unsup_losses = ("unsup.loss_strong",)

    def step_runner(self, *args, **kwargs):
        runner = super().step_runner(*args, **kwargs)
        for number in (1, 2):
            runner.model.previous.add(runner.model.student, -number)
        return runner


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    """A method that holds three earlier networks, in the middle of a training of eight iterations."""

    def make(kind="PrevMatch", held=3, iteration=2, **settings):
        settings = {"threshold": 0.45, "strong": STRONG, **settings}
        if settings.get("previous_loss", "pixel") == "pixel":
            settings.setdefault("previous_threshold", 0.4)
        runner = make_method(segmentor_config, preprocessor_config, type=kind, **settings)
        previous, student = runner.model.previous, copy.deepcopy(runner.model.student)
        for number in range(held):
            with torch.no_grad():
                for parameter in student.parameters():
                    parameter.mul_(1 + 0.3 * torch.rand_like(parameter))
            previous.add(student, number)
        previous.copy_every = 100  # none in the tests
        runner.iter = iteration
        runner.message_hub.update_info("iter", iteration)
        return runner

    return make


def drawn(model: nn.Module, iteration: int) -> list[tuple[float, nn.Module]]:
    """Weights and networks of an iteration."""
    previous = model.previous
    numbers, weights = draw_members(previous.seed, iteration, len(previous), previous.max_drawn)
    return [(weight, previous.members[number].net) for number, weight in zip(numbers, weights)]


# --- The step -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "pairing"),
    [
        (dict(joint_decoder=True), "halves"),  # the released form
        (dict(previous_curve="triangle"), "permute"),
        (dict(previous_loss="image_mean", sup_weight=0.7, unsup_weight=2.0), "permute"),
        (dict(previous_loss="image_mean_released", labeled_forward="alone"), "permute"),
        (dict(num_views=3, feature_weight=0.2), None),
    ],
)
def test_the_step_is_the_reference_step(build, settings, pairing, monkeypatch):
    runner = build(**settings)
    model, reference = runner.model, copy.deepcopy(runner.model)
    cfg, recorded = model.settings, make_recorded(pairing, model.settings.num_views)
    num_dropped = 2 if pairing == "halves" else 4
    num_dropped += len(recorded.batch.labeled) if cfg.joint_decoder else 0
    ones = tuple(torch.ones(num_dropped, channels, 1, 1).double() for channels in (4, 8))
    factors = drop_channels(ones, 0.5)
    monkeypatch.setattr(
        f"{UNIMATCH}.drop_channels",
        lambda feats, _: tuple(feat * factor for feat, factor in zip(feats, factors)),
    )
    expected = recorded.reference(
        prevmatch_step,
        reference.student,
        settings=cfg,
        channel_factors=factors,
        previous=drawn(reference, 2),
        weight=rise_and_fall(2, 8, cfg.previous_curve),
    )
    assert all(value > 0.01 for value in expected.values())
    check_step(runner, recorded, expected, reference)


@pytest.mark.parametrize(
    ("settings", "pairing"),
    [
        (dict(labels_from="student", labeled_forward="weak"), "halves"),
        (dict(labeled_forward="strong"), "reverse"),
        (dict(labels_from="student", previous_loss="image_mean", num_views=2), "permute"),
    ],
)
def test_so_it_is_on_fixmatch(build, settings, pairing):
    runner = build("PrevFixMatch", **settings)
    model, reference = runner.model, copy.deepcopy(runner.model)
    recorded = make_recorded(pairing, settings.get("num_views", 1))
    expected = recorded.reference(
        prevfixmatch_step,
        reference.student,
        reference.teacher.module if reference.has_teacher else None,
        settings=model.settings,
        previous=drawn(reference, 2),
        weight=0.5,
    )
    assert all(value > 0.01 for value in expected.values())
    check_step(runner, recorded, expected, reference)


def step_gradients(runner, recorded) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    torch.manual_seed(5)  # of the dropped channels
    losses = recorded.loss(runner.model)
    total(losses).backward()
    return losses, gradients(runner.model)


def test_with_a_weight_of_zero_it_is_unimatch(build, segmentor_config, preprocessor_config):
    """Known answer "invariants": with lambda = 0, at the start, and as long as the list is empty."""
    unimatch = make_method(
        segmentor_config, preprocessor_config, type="UniMatch", threshold=0.45, strong=STRONG
    )
    _, expected = step_gradients(unimatch, make_recorded("permute", views=2))
    for state in (dict(iteration=0), dict(held=0, iteration=4)):
        runner = build(**state)
        losses, found = step_gradients(runner, make_recorded("permute", views=2))
        assert losses["prev.loss_strong"] == losses["prev.loss_feature"] == 0
        for name, gradient in expected.items():
            assert torch.equal(found[name], gradient), name
        for name, value in unimatch.model.named_buffers():
            assert torch.equal(dict(runner.model.named_buffers())[name], value), name


def test_earlier_networks_are_left_alone(build):
    """Known answer "invariants": bit-identical, in eval mode, without gradient; not in the weights."""
    runner = build()
    model, members = runner.model, runner.model.previous.members
    before = [snapshot(member.net) for member in members]
    runner.model.train()
    runner.start_step()
    total(make_recorded("permute", views=2).loss(model)).backward()
    runner.optim_wrapper.optimizer.step()
    for member, state in zip(members, before):
        assert not any(module.training for module in member.net.modules())
        assert all(p.grad is None for p in member.net.parameters())
        for name, value in snapshot(member.net).items():
            assert torch.equal(value, state[name]), name
    assert not [name for name in model.state_dict() if not name.startswith("student.")]


def test_one_earlier_network_gives_its_own_labels(build):
    model = build(held=1).model
    x = make_recorded().batch.unlabeled.pixels_NCHW
    net = model.previous.members[0].net
    with torch.no_grad():
        logits = net.decode_head(net.backbone(x))
    found = model.pseudo_labels(model.previous.logits(x, 7))
    size = x.shape[-2:]
    want = torch.nn.functional.interpolate(logits, size, mode="bilinear").argmax(1)
    assert (found.label_NHW == want).float().mean() > 0.999


def test_labels_that_are_all_ignored_and_images_that_are_all_padding(build):
    """Known answer "all ignored"; the released code gives NaN."""
    for kind in ("pixel", "image_mean", "image_mean_released"):
        recorded = make_recorded("halves", views=2)
        recorded.batch.labeled.labels_NHW.fill_(255)
        recorded.batch.unlabeled.valid_NHW.zero_()
        runner = build(previous_loss=kind)
        losses, found = step_gradients(runner, recorded)
        assert total(losses) == 0 and losses["prev.loss_strong"].requires_grad
        assert all((gradient == 0).all() for gradient in found.values())


# --- Known answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "held", "expected"), [(0, 1, 0.675), (0.5, 1, 0.66), (1, 1, 0.65), (1, 0, 0.675)]
)
def test_totals(build, monkeypatch, weight, held, expected):
    """Known answer "total": Lx = 1; Ls1, Ls2, Lfp = .4, .6, .2; against earlier labels .8, .4, .6."""
    monkeypatch.setattr(
        "mmsemi.models.segmentors.base.supervised_losses",
        lambda *_: {"decode.loss_ce": torch.tensor(1.0), "decode.acc_seg": torch.tensor(50.0)},
    )
    own = iter([torch.tensor(0.5), torch.tensor(0.2)])  # in the order of the calls
    earlier = iter([torch.tensor(0.6), torch.tensor(0.6)])
    monkeypatch.setattr(f"{UNIMATCH}.confident_cross_entropy", lambda *_: next(own))
    monkeypatch.setattr(f"{PREVMATCH}.confident_cross_entropy", lambda *_: next(earlier))
    monkeypatch.setattr(f"{PREVMATCH}.rise_and_fall", lambda *_: weight)
    losses = make_recorded("halves", views=2).loss(build(held=held).model)
    assert total(losses).item() == pytest.approx(expected)
    assert losses["sup.decode.acc_seg"] == 50, "weights are for losses"


@pytest.mark.parametrize(
    ("epoch", "length", "parts", "cosine", "triangle", "logged"),
    [
        (10, 80, (0.017, 0.139, 0.013, 0.216, 0.087), 0.05366, 0.05817, 0.054),
        (30, 240, (0.548, 0.117, 0.052, 0.579, 0.419), 0.32872, 0.33656, 0.329),
    ],
)
def test_a_logged_line(epoch, length, parts, cosine, triangle, logged):
    """Known answer "logged line": which curve the published runs had."""
    found = {}
    for curve in ("raised_cosine", "triangle"):
        x, s, fp, s_prev, fp_prev = parts
        weight = rise_and_fall(epoch, length, curve)
        own, earlier = (s + fp) / 2, (s_prev + fp_prev) / 2
        found[curve] = (x + own + weight * earlier) / (2 + weight)
    assert found == pytest.approx(dict(raised_cosine=cosine, triangle=triangle), abs=1e-5)
    assert round(found["raised_cosine"], 3) == logged != round(found["triangle"], 3)


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        dict(num_networks=0),
        dict(max_drawn=9),
        dict(copies="best"),
        dict(copy_every=0),
        dict(copies="val_best", copy_every=3),
        dict(copy_start=-1),
        dict(previous_loss="image_mean", previous_threshold=0.8),
        dict(previous_curve="cosine"),
        dict(pasted_mode="x"),  # of the base method
    ],
)
def test_settings_that_no_run_can_mean_are_refused(build, settings):
    name, value = list(settings.items())[-1]
    with pytest.raises(ConfigError, match=f"PrevMatch.{name}={value!r}"):
        build(**settings)


def test_without_its_hook_it_does_not_train(build):
    model = build().model
    model.previous.length = 0
    with pytest.raises(ConfigError, match="PreviousNetworksHook"):
        make_recorded("permute", views=2).loss(model)
