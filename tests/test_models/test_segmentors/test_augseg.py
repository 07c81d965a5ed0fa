# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""AugSeg: what every method must do, and its step against the reference step.

Known answers: docs/methods/augseg.md. Those of the mix: test_views/test_label_paste.py, of the strong
view: test_views/test_random_intensity.py.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from method_tester import MethodTester
from recorded import (
    Recorded,
    assert_state,
    check_step,
    expected_teacher,
    gradients,
    make_method,
    make_recorded,
    total,
)
from reference.augseg import Exchange, augseg_step, confidence_in_images, exchange_boxes
from reference.blocks import predict
from torch import Tensor, nn

from mmsemi.errors import ConfigError
from mmsemi.models.losses import confident_cross_entropy
from mmsemi.structures import PseudoLabels

STRONG = dict(type="RandomIntensity")
MIX = dict(type="LabelPaste")


class TestAugSeg(MethodTester):
    name = "augseg"
    views_alone = dict(labeled_forward="alone")
    model = dict(type="AugSeg", strong=STRONG, mix=MIX, threshold=0.4, momentum=0.1)
    networks = ["student", "teacher"]
    predict_on = "teacher"
    unsup_losses = ("unsup.loss_strong",)


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(**settings):
        settings = dict(mix=MIX, threshold=0.6, copy_passes=0) | settings
        return make_method(segmentor_config, preprocessor_config, type="AugSeg", **settings)

    return make


# --- The step -------------------------------------------------------------------------------------


@dataclass
class RecordedExchange(Recorded):
    """The method's own mix, on recorded pairs and boxes; what is left to draw is who gets a label."""

    exchange: Exchange | None = None

    def loss(self, method: nn.Module) -> dict[str, Tensor]:
        method.strong_view = lambda *_: self.views[0]
        if self.exchange is None:
            method.mix = None
        else:
            first = torch.arange(len(self.batch.unlabeled))
            boxes = iter([self.exchange.labeled_boxes, self.exchange.mix_boxes])
            method.mix.pair = lambda *_: (first, self.exchange.partner)
            method.mix._boxes = lambda *_: next(boxes)
            self.batch.generator = torch.Generator().manual_seed(SEED)
        return method(self.batch, mode="loss")


SEED = 1


def make_exchange(mixed: bool = True) -> RecordedExchange:
    """2 labelled and 4 unlabelled images of 16 x 16; labels have ignored rows, which are pasted, too."""
    recorded = make_recorded()
    exchange = None
    if mixed:
        labeled, mix = torch.zeros(2, 4, 1, 16, 16, dtype=torch.bool)
        for i in range(4):
            labeled[i, :, 1 : 9 + i, 2 + i : 12] = True
            mix[i, :, i:13, 3 : 13 + i] = True
        draws = torch.rand(4, generator=torch.Generator().manual_seed(SEED))
        exchange = Exchange(torch.tensor([2, 3, 1, 0]), labeled, mix, draws)
    return RecordedExchange(recorded.batch, recorded.views, exchange=exchange)


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        dict(ignore_padding=True, unsup_weight=0.7),
        dict(threshold=-0.1),
        dict(labeled_forward="alone"),
    ],
)
def test_the_step_is_the_reference_step(build, settings, mixed):
    """Some images are surer than their draw, and some are not."""
    runner = build(**settings)
    model, reference = runner.model, copy.deepcopy(runner.model)
    cfg, recorded = model.settings, make_exchange(mixed)
    batch = recorded.batch
    expected = augseg_step(
        reference.student,
        reference.teacher.module,
        batch.labeled.pixels_NCHW,
        batch.labeled.labels_NHW,
        batch.unlabeled.pixels_NCHW,
        recorded.views[0],
        recorded.exchange,
        batch.unlabeled.valid_NHW,
        threshold=cfg.threshold,
        unsup_weight=cfg.unsup_weight,
        labeled_forward=cfg.labeled_forward,
        ignore_padding=cfg.ignore_padding,
    )
    losses = check_step(runner, recorded, expected, reference)
    if cfg.threshold > 0:
        assert 0.02 < losses["unsup.mask_ratio"] < 0.98
    if mixed:
        logits = predict(model.teacher.module, batch.unlabeled.pixels_NCHW)
        confidence = confidence_in_images(logits.softmax(1))
        assert 0 < (recorded.exchange.draws > confidence).sum() < 4
        assert losses["unsup.certainty"].item() == pytest.approx(confidence.mean().item())


def test_the_reference_exchanges_boxes_as_the_paper():
    """docs/methods/augseg.md#two-exchanges, which the tests of the mix check, too."""

    def boxes(*corners: tuple[int, int, int, int]) -> Tensor:
        masks = torch.zeros(3, 1, 4, 4, dtype=torch.bool)
        for mask, (top, bottom, left, right) in zip(masks, corners):
            mask[:, top:bottom, left:right] = True
        return masks

    exchange = Exchange(
        torch.tensor([1, 2, 0]),
        boxes((0, 2, 0, 2), (2, 4, 2, 4), (1, 3, 1, 3)),
        boxes((0, 2, 0, 4), (0, 4, 2, 4), (1, 4, 0, 2)),
        torch.zeros(3),
    )
    unlabeled, labeled = (
        torch.arange(start, start + 3).view(3, 1, 1).repeat(1, 4, 4) for start in (0, 10)
    )
    found = exchange_boxes(exchange, torch.tensor([True, False, True]), unlabeled, labeled)
    assert found.flatten(1).tolist() == [
        [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 2, 2, 1, 1, 10, 2, 1, 1, 10, 2, 1, 1, 2, 2],
        [2, 2, 2, 2, 11, 11, 2, 2, 0, 0, 2, 2, 0, 0, 2, 2],
    ]


def test_the_teacher_follows_after_the_step(build):
    """A copy through the first steps, then decay min(1 - 1/(k+1), 0.999), floating buffers too."""
    runner = build(copy_passes=2.5)  # a pass of the runner has two steps
    model, recorded = runner.model, make_exchange()
    runner.start_step()
    total(recorded.loss(model)).backward()
    net = model.teacher.module
    assert all(p.grad is None for p in net.parameters())
    assert net.backbone.bn1.num_batches_tracked == 0 and not net.training
    runner.optim_wrapper.optimizer.step()
    for step, weight in ((4, 1), (5, 1 / 6), (3000, 0.001)):
        model.teacher.load_state_dict({**model.teacher.state_dict(), "steps": torch.tensor(step)})
        with torch.no_grad():
            for p in net.parameters():
                p.add_(0.1)
        expected = expected_teacher(model.student, net, weight, "ema")
        for hook in runner.hooks:
            hook.after_train_iter(runner, 0)
        assert_state(net, expected)


def test_the_average_follows_the_published_schedule(build):
    """docs/methods/augseg.md#average-of-the-teacher"""
    runner = build(copy_passes=1.5, momentum=0.1)
    bias, averaged = (
        net.decode_head.conv_seg.bias for net in (runner.model.student, runner.model.teacher.module)
    )
    found = []
    with torch.no_grad():
        for step in range(14):
            bias.fill_(float(step))
            runner.hooks[0].after_train_iter(runner, step)
            found.append(averaged[0].item())
    expected = {0: 0, 1: 1, 2: 2, 3: 2.25, 4: 2.6, 5: 3, 9: 4.8, 10: 5.32, 13: 7.14928}
    assert {step: found[step] for step in expected} == pytest.approx(expected, abs=1e-6)


# --- What touches what ----------------------------------------------------------------------------


@pytest.mark.parametrize(("labeled_forward", "passes"), [("strong", 1), ("alone", 2)])
def test_forwards_in_train_mode(build, labeled_forward, passes):
    runner = build(labeled_forward=labeled_forward)
    make_exchange().loss(runner.model)
    assert runner.model.student.backbone.bn1.num_batches_tracked == passes
    assert all(module.training for module in runner.model.student.modules())


def test_the_unsupervised_loss_gives_the_weak_view_no_gradient(build):
    """It gives the strong view one, and the labelled images, whose boxes it shows."""
    recorded = make_exchange()
    weak = recorded.batch.unlabeled.pixels_NCHW.requires_grad_()
    x = recorded.batch.labeled.pixels_NCHW.requires_grad_()
    strong = recorded.views[0] = recorded.views[0].detach().requires_grad_()
    loss = recorded.loss(build(mix=dict(MIX, paste_prob=1)).model)["unsup.loss_strong"]
    found = torch.autograd.grad(loss, [weak, strong, x], allow_unused=True)
    assert found[0] is None and found[1].abs().sum() > 0 and found[2].abs().sum() > 0


@pytest.mark.parametrize("ignore_padding", [False, True])
def test_labels_that_are_all_ignored_and_images_that_are_all_padding(build, ignore_padding):
    recorded = make_exchange(mixed=False)
    recorded.batch.labeled.labels_NHW.fill_(255)
    recorded.batch.unlabeled.valid_NHW.zero_()
    runner = build(ignore_padding=ignore_padding)
    losses = recorded.loss(runner.model)
    assert losses["sup.decode.loss_ce"] == 0 and losses["sup.decode.loss_ce"].requires_grad
    assert (losses["unsup.loss_strong"] == 0) == ignore_padding
    assert (losses["unsup.mask_ratio"] == 0) == ignore_padding
    total(losses).backward()
    if ignore_padding:
        assert all((gradient == 0).all() for gradient in gradients(runner.model).values())


def test_the_weight_follows_the_ramp_up(build):
    values = []
    for settings in (dict(), dict(rampup_iters=10)):
        runner = build(**settings)
        runner.message_hub.update_info("iter", 5)
        values.append(make_exchange().loss(runner.model)["unsup.loss_strong"])
    torch.testing.assert_close(values[1], values[0] * 0.286505, rtol=1e-5, atol=0)


def test_what_is_shown_of_the_labels(build):
    recorded = make_exchange()
    model = build().model
    model.wants_to_show = True
    losses = recorded.loss(model)
    shown = model.shown
    assert shown.pseudo.label_NHW.shape == shown.target_BHW.shape == (4, 16, 16)
    kept = (shown.target_BHW != 255).sum()
    # Pasted rows without a label are not shown, and do not count.
    assert 0 < kept <= losses["unsup.mask_ratio"] * shown.target_BHW.numel()


@pytest.mark.parametrize("mix", [dict(type="CutMix"), dict(type="ClassMix"), None])
def test_other_mixes(build, mix):
    """Without labelled boxes the certainty is not asked for."""
    runner = build(mix=mix)
    recorded = make_recorded()
    runner.model.strong_view = lambda *_: recorded.views[0]
    recorded.batch.generator = torch.Generator().manual_seed(0)
    losses = runner.model(recorded.batch, mode="loss")
    assert losses["unsup.loss_strong"] > 0 and "unsup.certainty" not in losses


# --- Known answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "over_all", "over_valid"),
    [(0.95, 0.4125142, 0.5500190), (-0.1, 0.4724005, 0.6298673), (0, 0.4724005, 0.6298673)],
)
def test_loss_by_hand(threshold, over_all, over_valid):
    """docs/methods/augseg.md#loss-by-hand"""
    logits = torch.tensor([[[1.0, 0, 0], [0, 2, 0]], [[0, 0, 3], [1, 1, 1]]])
    logits = logits.permute(2, 0, 1)[None]
    label = torch.tensor([[[0, 1], [255, 2]]])
    pseudo = PseudoLabels(label, torch.tensor([[[0.96, 0.94], [1, 0.95]]]))
    loss = confident_cross_entropy(logits, pseudo, threshold, over_all=True)
    assert loss.item() == pytest.approx(over_all, abs=1e-6)
    loss = confident_cross_entropy(logits, pseudo, threshold)
    assert loss.item() == pytest.approx(over_valid, abs=1e-6)


def test_the_reference_knows_the_confidence():
    """docs/methods/augseg.md#confidence"""
    maps = torch.tensor([[0.7, 0.2, 0.05, 0.05], [0.25] * 4, [1, 0, 0, 0], [0.5, 0.5, 0, 0]])
    found = confidence_in_images(maps.T.reshape(1, 4, 2, 2))
    assert found.item() == pytest.approx(0.3775318, abs=1e-6)


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        dict(threshold=1.5),
        dict(threshold="0.9"),
        dict(unsup_weight=-1.0),
        dict(momentum=0),
        dict(momentum=2.0),
        dict(labeled_forward="weak"),
        dict(copy_passes=-1),
        dict(copy_passes="1"),
        dict(ignore_padding=1),
        dict(predict_on="pupil"),
    ],
)
def test_settings_that_no_run_can_mean_are_refused(build, settings):
    ((name, value),) = settings.items()
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        build(**settings)


def test_missing_unlabelled_images_say_what_to_set(build):
    recorded = make_exchange(mixed=False)
    recorded.batch.unlabeled = None
    with pytest.raises(ConfigError, match=r"num_per_source\.unlabeled"):
        recorded.loss(build().model)
