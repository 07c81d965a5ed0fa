# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""s4GAN: what every method must do, and its step against the reference step.

Known answers: docs/methods/s4gan.md.
"""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from joint_optimizer import JOINT, assert_each_loss_trains_one_network
from method_tester import MethodTester
from recorded import (
    Recorded,
    check_step,
    gradients,
    make_images,
    make_method,
    make_recorded,
    total,
)
from reference.blocks import predict
from reference.s4gan import s4gan_step, with_image
from torch import Tensor, nn

from mmsemi.errors import ConfigError, DataError
from mmsemi.models.forward import Outputs
from mmsemi.structures import SemiBatch

GENERATOR = ("adv.loss_matching", "unsup.loss_self")
WEIGHTS = dict(matching_weight=2.0, unsup_weight=0.8)


class TestS4GAN(MethodTester):
    name = "s4gan"
    model = dict(
        type="S4GAN",
        discriminator=dict(type="S4GANDiscriminator", base_channels=8),
        threshold=0.4,
        unsup_start=0,
        **WEIGHTS,
    )
    optim_wrapper = JOINT
    unsup_losses = GENERATOR


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    """Without the discriminator's dropout, and with weights that tell one image from another."""

    def make(dropout: float = 0, discriminator: dict | None = None, **settings):
        net = dict(type="S4GANDiscriminator", base_channels=4, dropout=dropout)
        runner = make_method(
            segmentor_config,
            preprocessor_config,
            type="S4GAN",
            discriminator={**net, **(discriminator or {})},
            **settings,
        )
        with torch.no_grad():
            for parameter in runner.model.discriminator.parameters():
                parameter.mul_(4)
        return runner

    return make


def record(gt: bool = False) -> Recorded:
    """Unlabelled images as they are: the published method has no strong view."""
    return make_recorded(strong=False, gt=gt, size=32)


def scores(model: nn.Module, recorded: Recorded) -> Tensor:
    """What the discriminator says without dropout about the unlabelled images, in (0, 1)."""
    model, view = copy.deepcopy(model), recorded.views[0]
    maps = with_image(predict(model.student, view).softmax(1), view)
    return model.discriminator.eval()(maps)[0].flatten().sigmoid()


def middle_score(model: nn.Module, recorded: Recorded) -> float:
    """A threshold that half of the unlabelled images pass."""
    low, high = scores(model, recorded).logit().sort().values[1:3]
    assert high - low > 0.01
    return ((low + high) / 2).sigmoid().item()


# --- The step -------------------------------------------------------------------------------------


def check(runner, recorded: Recorded, **options) -> dict[str, Tensor]:
    """The method's step against the reference step with these options; returns its losses."""
    reference, batch = copy.deepcopy(runner.model), recorded.batch
    truth = batch.sources.get("gt", batch.labeled)
    net, on_fakes = copy.deepcopy(runner.model.discriminator), scores(runner.model, recorded)
    expected = s4gan_step(
        reference.student,
        reference.discriminator,
        batch.labeled.pixels_NCHW,
        batch.labeled.labels_NHW,
        recorded.views[0],
        batch.unlabeled.valid_NHW,
        truth.pixels_NCHW,
        truth.labels_NHW,
        **options,
    )
    losses = check_step(runner, recorded, expected, reference)
    selected = (on_fakes > options.get("threshold", 0.6)).sum()
    assert losses["unsup.selected"] == selected
    ignore = runner.model.ignore_index
    known = [(truth.labels_NHW == c) & (truth.labels_NHW != ignore) for c in range(3)]
    on_reals = net(with_image(torch.stack(known, 1).double(), truth.pixels_NCHW))[0].sigmoid()
    right = (on_fakes <= 0.5).sum() + (on_reals > 0.5).sum()
    torch.testing.assert_close(losses["disc.acc"], 100 * right / (len(on_fakes) + len(on_reals)))
    return losses


@pytest.mark.parametrize("gt", [False, True])
@pytest.mark.parametrize("options", [{}, dict(ignore_padding=False)], ids=["valid", "padding"])
@pytest.mark.parametrize("score_mode", ["train", "eval"])
def test_the_step_is_the_reference_step(build, gt, options, score_mode):
    """docs/methods/s4gan.md#step"""
    recorded = record(gt)
    recorded.batch.unlabeled.valid_NHW[:, :5] = False  # on every image, whichever are selected
    settings = dict(WEIGHTS, threshold=middle_score(build().model, recorded), **options)
    settings["score_mode"] = score_mode
    losses = check(build(unsup_start=0, **settings), recorded, **settings)
    assert losses["unsup.selected"] == 2
    assert all(losses[key] > 0.01 for key in losses if "loss" in key), losses


def test_defaults_are_the_published_ones(build):
    """The reference's defaults; self-training from the second iteration, the rest from the first."""
    found = []
    for iteration in (0, 1):
        runner = build()
        with torch.no_grad():
            runner.model.discriminator.classifier.bias.fill_(3)
        runner.message_hub.update_info("iter", iteration)
        losses = check(runner, record(), unsup_weight=float(iteration))
        assert losses["unsup.selected"] > 0
        found.append(losses["unsup.loss_self"] > 0.01)
    assert found == [False, True]


@pytest.mark.parametrize(("threshold", "selected"), [(0.0, 4), (1.0, 0)])
def test_all_images_or_none_are_selected(build, threshold, selected):
    """Without an image the loss is 0 and still has a graph; the matching goes on."""
    settings = dict(WEIGHTS, threshold=threshold)
    losses = check(build(**settings, unsup_start=0), record(), **settings)
    assert losses["unsup.selected"] == selected
    assert (losses["unsup.loss_self"] > 0.01) == (selected > 0)
    assert losses["unsup.loss_self"].requires_grad and losses["adv.loss_matching"] > 0.01


@pytest.mark.parametrize("ignore", [1, 250])
def test_another_ignored_label(build, segmentor_config, ignore):
    segmentor_config["decode_head"]["ignore_index"] = ignore
    recorded = record()
    labels = recorded.batch.labeled.labels_NHW
    labels[labels == 255] = ignore
    settings = dict(WEIGHTS, threshold=0.0)
    check(build(**settings, unsup_start=0), recorded, **settings)


def test_labels_that_are_all_ignored_and_images_that_are_all_padding(build):
    """The discriminator works on: it compares whole images."""
    recorded = record()
    recorded.batch.labeled.labels_NHW.fill_(255)
    recorded.batch.unlabeled.valid_NHW.zero_()
    runner = build(**WEIGHTS, threshold=0.0, unsup_start=0)
    losses = recorded.loss(runner.model)
    assert losses["sup.decode.loss_ce"] == losses["unsup.loss_self"] == 0
    assert losses["unsup.selected"] == 4
    total(losses).backward()
    assert all(torch.isfinite(gradient).all() for gradient in gradients(runner.model).values())


# --- What touches what ----------------------------------------------------------------------------


def test_each_loss_trains_one_network(build):
    model = build(**WEIGHTS, threshold=0.0, unsup_start=0).model
    assert_each_loss_trains_one_network(model, record().loss(model))


def watch(model: nn.Module) -> list[tuple[Tensor, Tensor, bool]]:
    """The discriminator's inputs, scores and modes, call by call."""
    calls = []
    model.discriminator.register_forward_hook(
        lambda net, args, output: calls.append((args[0].detach(), output[0].detach(), net.training))
    )
    return calls


def test_the_discriminator_draws_new_dropout_for_its_own_losses(build):
    """Scores are those of the first pass, in train mode."""
    model = build(dropout=0.5).model
    calls = watch(model)
    losses = record().loss(model)
    maps, found, modes = zip(*calls)
    assert modes == (True,) * 4
    assert torch.equal(maps[0], maps[2]) and not torch.equal(found[0], found[2])
    assert torch.equal(maps[1], maps[3]) and not torch.equal(found[1], found[3])
    assert losses["unsup.selected"] == (found[0].sigmoid() > 0.6).sum()
    mean = F.softplus(found[2]).mean() + F.softplus(-found[3]).mean()
    torch.testing.assert_close(losses["disc.loss"].detach(), mean / 2)


def test_scores_without_noise(build):
    """The same images are selected whatever the dropout; the discriminator trains as before."""
    threshold = middle_score(build().model, record())
    selected = {"train": set(), "eval": set()}
    for mode, found in selected.items():
        for seed in range(6):
            model = build(dropout=0.5, score_mode=mode, threshold=threshold).model
            model.wants_to_show = True
            torch.manual_seed(seed)
            record().loss(model)
            chosen = (model.shown.target_BHW != 255).flatten(1).any(1)
            found.add(tuple(chosen.tolist()))
            assert model.discriminator.training and model.student.training
    assert len(selected["eval"]) == 1 < len(selected["train"])
    assert sum(*selected["eval"]) == 2


@pytest.mark.parametrize("gt", [False, True])
def test_each_batch_is_rescaled_by_its_own_range(build, gt):
    """Behind the class map; a constant batch is 0. docs/methods/s4gan.md#losses-by-hand"""
    recorded = record(gt)
    truth = recorded.batch.sources.get("gt", recorded.batch.labeled)
    images, labels = truth.pixels_NCHW.zero_(), truth.labels_NHW
    images[0, 0, 0, 0], images[1, 2, 3, 4] = -100, 150
    recorded.views = [torch.full_like(recorded.views[0], 7)]
    model = build().model
    calls = watch(model)
    recorded.loss(model)
    fake, real = calls[0][0], calls[1][0]
    assert (fake[:, 3:] == 0).all() and torch.allclose(fake[:, :3].sum(1), fake.new_ones(()))
    assert (real[0, 3, 0, 0], real[1, 5, 3, 4]) == (0, 1)
    assert real[:, 3:].median().item() == pytest.approx(0.4)
    assert torch.equal(real[:, :3].sum(1) == 1, labels != 255)
    assert torch.equal(real[:, :3].argmax(1)[labels != 255], labels[labels != 255])


# --- Known answers --------------------------------------------------------------------------------
# docs/methods/s4gan.md#losses-by-hand


def pixels(*values: tuple[float, float]) -> Tensor:
    """Logits of one image from its pixels' class logits; a third class is hopeless."""
    rows = torch.tensor([(*value, -1e4) for value in values])
    return rows.t()[None, :, None].contiguous()


class Answers(nn.Module):
    """A discriminator with given scores (after the sigmoid) and features, by number of images."""

    def __init__(self, scores: dict[int, list[float]], features: dict[int, list]) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))
        self.scores = {n: torch.tensor(values).logit()[:, None] for n, values in scores.items()}
        self.features = {n: torch.tensor(values) for n, values in features.items()}

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        return self.scores[len(maps)] * self.slope, self.features[len(maps)] * self.slope


def known_batch(labels: list, num_unlabeled: int) -> Recorded:
    """Images of a row of pixels; the discriminator tells the sources by their number of images."""
    labels = torch.tensor(labels)[:, None]
    labeled = make_images(torch.rand(len(labels), 3, *labels.shape[1:]), labels)
    unlabeled = make_images(torch.rand(num_unlabeled, 3, *labels.shape[1:]))
    return Recorded(SemiBatch(labeled, unlabeled), [unlabeled.pixels_NCHW])


def give_logits(monkeypatch, labeled: Tensor, unlabeled: Tensor) -> None:
    """Let the student give these logits; labelled images come first."""
    outputs = iter([labeled, unlabeled])
    for module in ("s4gan", "base"):  # labelled images, strong views
        monkeypatch.setattr(
            f"mmsemi.models.segmentors.{module}.forward",
            lambda *_: Outputs(None, [], next(outputs)),
        )
    monkeypatch.setattr(
        "mmsemi.models.segmentors.base.supervised_losses",
        lambda *_: {"decode.loss_ce": torch.tensor(0.9)},
    )


def test_matching_selection_and_total(build, monkeypatch):
    """For L_ce = 0.9."""
    z = torch.cat([pixels((2, 0), (0, 1)), pixels((0, 5), (5, 0)), pixels((1, 0), (0, 1))])
    z.requires_grad_()
    give_logits(monkeypatch, torch.zeros(2, 3, 1, 2), z)
    runner = build()
    # Of three fakes with the mean feature of the two of the known answer.
    features = {2: [[1.0, 2], [3, 4]], 3: [[0.0, 1], [1, 5], [0.5, 3]]}
    answers = Answers({2: [0.8, 0.8], 3: [0.61, 0.60, 0.30]}, features)
    answers.scores[3][1] = math.log(0.6 / 0.4)
    runner.model.discriminator = answers
    runner.message_hub.update_info("iter", 1)
    losses = known_batch([[0, 255]] * 2, 3).loss(runner.model)
    assert losses["adv.loss_matching"].item() == pytest.approx(0.075, abs=1e-6)
    assert losses["unsup.loss_self"].item() == pytest.approx(0.2200948, abs=1e-6)
    assert losses["unsup.selected"] == 1, "a score equal to the threshold selects nothing"
    generator = total(losses) - losses["disc.loss"]
    assert generator.item() == pytest.approx(1.1950948, abs=1e-6)
    losses["unsup.loss_self"].backward()
    assert (z.grad.abs().amax((1, 2, 3)) > 0).tolist() == [True, False, False]


def test_the_loss_of_the_discriminator(build, monkeypatch):
    give_logits(monkeypatch, torch.zeros(1, 3, 1, 2), torch.zeros(2, 3, 1, 2))
    model = build().model
    model.discriminator = Answers({2: [0.3, 0.6], 1: [0.8]}, {2: [[0.0]] * 2, 1: [[0.0]]})
    losses = known_batch([[0, 255]], 2).loss(model)
    assert losses["disc.loss"].item() == pytest.approx(0.4298132, abs=1e-6)
    assert losses["disc.acc"].item() == pytest.approx(100 * 2 / 3)


@pytest.mark.parametrize(
    ("gamma", "logit"), [(0.6, 0.4054651), (0.7, 0.8472979), (0.55, 0.2006707)]
)
def test_published_thresholds_on_logits(build, gamma, logit):
    for shift, expected in ((1e-5, 4), (-1e-5, 0)):
        model = build(threshold=gamma).model
        with torch.no_grad():
            model.discriminator.classifier.weight.zero_()
            model.discriminator.classifier.bias.fill_(logit + shift)
        assert record().loss(model)["unsup.selected"] == expected


# --- Refusals -------------------------------------------------------------------------------------


def test_settings_that_no_run_can_mean_are_refused(build):
    with pytest.raises(ConfigError, match=r"S4GAN\.score_mode='x'"):
        build(score_mode="x")
    with pytest.raises(ConfigError, match="S4GAN .*'mix'"):
        build(mix=dict(type="CutMix"))
    with pytest.raises(ConfigError, match=r"S4GAN\.discriminator\.in_channels=3.* 6 channels"):
        build(discriminator=dict(in_channels=3))


def test_batches_that_do_not_work_are_refused(build):
    recorded = record(gt=True)
    recorded.batch.sources["gt"].labels_NHW = None
    with pytest.raises(DataError, match=r"'0.png' .*sources\.gt\.pipeline"):
        recorded.loss(build().model)
    recorded.batch.unlabeled = None
    with pytest.raises(ConfigError, match=r"num_per_source\.unlabeled"):
        recorded.loss(build().model)
    with pytest.raises(ConfigError, match="S4GANDiscriminator .*16"):
        make_recorded(strong=False, size=8).loss(build().model)
