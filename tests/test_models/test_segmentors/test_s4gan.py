# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""s4GAN: what every method must do, and its step against alternating updates by hand.

Numbers of known answers, sections and traps are those of methods/s4gan_mlmt.md.
"""

from __future__ import annotations

import copy
import math
from functools import partial

import hand_step
import pytest
import torch
import torch.nn.functional as F
from hand_gan import (
    JOINT,
    add_gt_source,
    add_gt_without_mask,
    assert_each_loss_trains_one_network,
    samples_of,
)
from hand_gan import check_step as check_any_step
from hand_step import gradients, ground_truth, logits, make_batch, make_method, total
from method_tester import MethodTester
from mmsemi.models.segmentors.network import Outputs
from torch import nn

GENERATOR = ("adv.loss_matching", "unsup.loss_self")
WEIGHTS = dict(matching_weight=2.0, unsup_weight=0.8)


class TestS4GAN(MethodTester):
    name = "s4gan"
    model = dict(
        type="S4GAN",
        discriminator=dict(type="S4GANDiscriminator", base_channels=8),
        semi_train_cfg=dict(WEIGHTS, threshold=0.4, unsup_start=0),
    )
    optim_wrapper = JOINT
    unsup_losses = GENERATOR


@pytest.fixture
def build(segmentor_config, preprocessor_config, monkeypatch):
    """Without the discriminator's dropout, and with weights that tell one image from another."""
    monkeypatch.setattr(hand_step, "SIZE", 32)

    def make(dropout: float = 0, discriminator: dict | None = None, **settings):
        net = dict(type="S4GANDiscriminator", base_channels=4, dropout=dropout)
        runner = make_method(
            segmentor_config,
            preprocessor_config,
            type="S4GAN",
            discriminator={**net, **(discriminator or {})},
            semi_train_cfg=settings,
        )
        with torch.no_grad():
            for parameter in runner.model.discriminator.parameters():
                parameter.mul_(4)
        return runner

    return make


def middle_score(model, inputs) -> float:
    """A threshold that half of the unlabelled images pass."""
    model = copy.deepcopy(model)
    maps = fake_maps(logits(model.student, inputs["unsup_student"]), inputs["unsup_student"])
    scores = model.discriminator.eval()(maps)[0].flatten().sort().values
    assert scores[2] - scores[1] > 0.01, scores
    return scores[1:3].mean().sigmoid().item()


# --- The step (section 2a) ------------------------------------------------------------------------


def rescaled(images):
    """By the smallest and largest value of the whole batch (T1)."""
    return (images - images.min()) / (images.max() - images.min())


def fake_maps(z, images):
    return torch.cat([z.softmax(1), rescaled(images)], 1)


def alternating_step(
    model,
    inputs,
    samples,
    threshold=0.6,
    matching_weight=0.1,
    unsup_weight=1.0,
    ignore_padding=True,
    ignore=255,
):
    """Steps 2 to 8 with D frozen for the generator; gradients stay in ``model``."""
    student, net = model.student, model.discriminator
    labels = ground_truth(samples)
    source = "gt" if "gt" in inputs else "sup"
    truth = torch.stack([s.gt_sem_seg.data[0] for s in samples[source]])
    one_hot = torch.stack([truth == c for c in range(3)], 1) & (truth != ignore)[:, None]
    real = torch.cat([one_hot.double(), rescaled(inputs[source])], 1)

    net.requires_grad_(False)
    z_l = logits(student, inputs["sup"])
    valid = labels != ignore
    supervised = F.cross_entropy(z_l, torch.where(valid, labels, 0), reduction="none")[valid]
    z = logits(student, inputs["unsup_student"])
    fake = fake_maps(z, inputs["unsup_student"])
    score, feature = net(fake)
    chosen = torch.where(score.flatten().sigmoid() > threshold)[0]
    own = z.sum() * 0
    if len(chosen):
        pixels = F.cross_entropy(z[chosen], z[chosen].detach().argmax(1), reduction="none")
        if ignore_padding:
            pixels = pixels[inputs["valid"][chosen]]
        own = pixels.mean()
    matching = (net(real)[1].mean(0) - feature.mean(0)).abs().mean()
    losses = {
        "sup.decode.loss_ce": supervised.sum() / max(len(supervised), 1),
        "adv.loss_matching": matching_weight * matching,
        "unsup.loss_self": unsup_weight * own,
    }
    total(losses).backward()
    assert all(parameter.grad is None for parameter in net.parameters())

    net.requires_grad_(True)
    on_fakes, on_reals = net(fake.detach())[0].sigmoid(), net(real)[0].sigmoid()
    losses["disc.loss"] = -((1 - on_fakes).log().mean() + on_reals.log().mean()) / 2
    losses["disc.loss"].backward()
    right = (on_fakes <= 0.5).sum() + (on_reals > 0.5).sum()
    losses["disc.acc"] = 100 * right / (len(on_fakes) + len(on_reals))
    losses["unsup.selected"] = torch.tensor(float(len(chosen)))
    return losses


check_step = partial(check_any_step, by_hand=alternating_step)


@pytest.mark.parametrize("source", ["sup", "gt"])
@pytest.mark.parametrize("options", [{}, dict(ignore_padding=False)], ids=["valid", "padding"])
@pytest.mark.parametrize("score_mode", ["train", "eval"])
def test_step_equals_alternating_updates(build, source, options, score_mode):
    inputs, samples = make_batch(strong=False)
    inputs["valid"][:, :5] = False  # on every image, whichever are selected
    if source == "gt":
        add_gt_source(inputs, samples)
    settings = dict(WEIGHTS, threshold=middle_score(build().model, inputs), **options)
    runner = build(unsup_start=0, score_mode=score_mode, **settings)
    losses = check_step(runner, inputs, samples, **settings)
    assert losses["unsup.selected"] == 2
    assert all(losses[key] > 0.01 for key in losses if "loss" in key), losses


def test_defaults_are_the_published_ones(build):
    """0.1, 1 and 0.6; self-training from the second iteration, the rest from the first."""
    inputs, samples = make_batch()
    found = []
    for iteration in (0, 1):
        runner = build()
        with torch.no_grad():
            runner.model.discriminator.classifier.bias.fill_(3)
        runner.message_hub.update_info("iter", iteration)
        losses = check_step(runner, inputs, samples, unsup_weight=float(iteration))
        assert losses["unsup.selected"] > 0
        found.append(losses["unsup.loss_self"] > 0.01)
    assert found == [False, True]


@pytest.mark.parametrize(("threshold", "selected"), [(0.0, 4), (1.0, 0)])
def test_all_images_or_none_are_selected(build, threshold, selected):
    """Without an image the loss is 0 and still has a graph; the matching goes on."""
    settings = dict(WEIGHTS, threshold=threshold)
    losses = check_step(build(**settings, unsup_start=0), *make_batch(), **settings)
    assert losses["unsup.selected"] == selected
    assert (losses["unsup.loss_self"] > 0.01) == (selected > 0)
    assert losses["unsup.loss_self"].requires_grad and losses["adv.loss_matching"] > 0.01


@pytest.mark.parametrize("ignore", [1, 250])
def test_another_ignored_label(build, segmentor_config, ignore):
    segmentor_config["decode_head"]["ignore_index"] = ignore
    inputs, samples = make_batch()
    for sample in samples["sup"]:
        data = sample.gt_sem_seg.data
        data[data == 255] = ignore
    # A pixel that the student labels 1 would teach nothing.
    settings = dict(WEIGHTS, threshold=1.0 if ignore == 1 else 0.0)
    check_step(build(**settings, unsup_start=0), inputs, samples, ignore=ignore, **settings)


def test_labels_that_are_all_ignored_and_images_that_are_all_padding(build):
    """The discriminator works on: it compares whole images."""
    inputs, samples = make_batch()
    for sample in samples["sup"]:
        sample.gt_sem_seg.data.fill_(255)
    inputs["valid"].zero_()
    runner = build(**WEIGHTS, threshold=0.0, unsup_start=0)
    losses = runner.model.loss(inputs, samples)
    assert losses["sup.decode.loss_ce"] == losses["unsup.loss_self"] == 0
    assert losses["unsup.selected"] == 4
    total(losses).backward()
    assert all(torch.isfinite(gradient).all() for gradient in gradients(runner.model).values())


# --- What touches what ----------------------------------------------------------------------------


def test_each_loss_trains_one_network(build):
    model = build(**WEIGHTS, threshold=0.0, unsup_start=0).model
    assert_each_loss_trains_one_network(model, model.loss(*make_batch()))


def watch(model):
    """The discriminator's inputs, scores and modes, call by call."""
    calls = []
    model.discriminator.register_forward_hook(
        lambda net, args, output: calls.append((args[0].detach(), output[0].detach(), net.training))
    )
    return calls


def test_the_discriminator_draws_new_dropout_for_its_own_losses(build):
    """Step 8; scores are those of the first pass, in train mode (T2)."""
    inputs, samples = make_batch()
    model = build(dropout=0.5).model
    calls = watch(model)
    losses = model.loss(inputs, samples)
    maps, scores, modes = zip(*calls)
    assert modes == (True,) * 4
    assert torch.equal(maps[0], maps[2]) and not torch.equal(scores[0], scores[2])
    assert torch.equal(maps[1], maps[3]) and not torch.equal(scores[1], scores[3])
    assert losses["unsup.selected"] == (scores[0].sigmoid() > 0.6).sum()
    mean = F.softplus(scores[2]).mean() + F.softplus(-scores[3]).mean()
    torch.testing.assert_close(losses["disc.loss"].detach(), mean / 2)


def test_scores_without_noise(build):
    """T2's option: the same images are selected whatever the dropout; it trains as before."""
    inputs, samples = make_batch()
    threshold = middle_score(build().model, inputs)
    selected = {"train": set(), "eval": set()}
    for mode, found in selected.items():
        for seed in range(6):
            model = build(dropout=0.5, score_mode=mode, threshold=threshold).model
            model.keep_visuals = True
            torch.manual_seed(seed)
            model.loss(inputs, samples)
            chosen = (model.visuals["target"] != 255).flatten(1).any(1)
            found.add(tuple(chosen.tolist()))
            assert model.discriminator.training and model.student.training
    assert len(selected["eval"]) == 1 < len(selected["train"])
    assert sum(*selected["eval"]) == 2


@pytest.mark.parametrize("source", ["sup", "gt"])
def test_known_answer_5_rescaling(build, source):
    """Each batch by its own range (T1), after the class map; a constant batch is 0."""
    inputs, samples = make_batch()
    add_gt_source(inputs, samples)
    if source == "sup":
        del inputs["gt"], samples["gt"]
    images = inputs[source]
    images.zero_()
    images[0, 0, 0, 0], images[1, 2, 3, 4] = -100, 150
    inputs["unsup_student"] = torch.full_like(inputs["unsup_student"], 7)
    model = build().model
    calls = watch(model)
    model.loss(inputs, samples)
    fake, real = calls[0][0], calls[1][0]
    assert (fake[:, 3:] == 0).all() and torch.allclose(fake[:, :3].sum(1), fake.new_ones(()))
    assert (real[0, 3, 0, 0], real[1, 5, 3, 4]) == (0, 1)
    assert real[:, 3:].median().item() == pytest.approx(0.4)
    labels = torch.cat([sample.gt_sem_seg.data for sample in samples[source]])
    assert torch.equal(real[:, :3].sum(1) == 1, labels != 255)
    assert torch.equal(real[:, :3].argmax(1)[labels != 255], labels[labels != 255])


# --- Known answers --------------------------------------------------------------------------------


def pixels(*values: tuple[float, float]) -> torch.Tensor:
    """Logits of one image from its pixels' class logits; a third class is hopeless."""
    rows = torch.tensor([(*value, -1e4) for value in values])
    return rows.t()[None, :, None].contiguous()


class Answers(nn.Module):
    """A discriminator with the scores and features of the known answers, by number of images."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))
        fakes = torch.tensor([0.61, 0.60, 0.30]).logit()[:, None]
        fakes[1] = math.log(0.6 / 0.4)
        self.scores = {3: fakes, 2: torch.tensor([[0.8], [0.8]]).logit()}
        # Of three fakes with the mean of the two of K1.
        features = [[0.0, 1], [1, 5], [0.5, 3]], [[1.0, 2], [3, 4]]
        self.features = {3: torch.tensor(features[0]), 2: torch.tensor(features[1])}

    def forward(self, maps):
        return self.scores[len(maps)] * self.slope, self.features[len(maps)] * self.slope


def test_known_answers_1_3_and_4(build, monkeypatch):
    """L_fm, the selection and the total, for L_ce = 0.9."""
    z = torch.cat([pixels((2, 0), (0, 1)), pixels((0, 5), (5, 0)), pixels((1, 0), (0, 1))])
    z.requires_grad_()
    outputs = dict(sup=torch.zeros(2, 3, 1, 2), unsup=z)
    monkeypatch.setattr(
        "mmsemi.models.segmentors.s4gan.forward_network",
        lambda net, x: Outputs(None, [], outputs["unsup" if len(x) == 3 else "sup"]),
    )
    monkeypatch.setattr(
        "mmsemi.models.segmentors.base.supervised_losses",
        lambda *_: {"decode.loss_ce": torch.tensor(0.9)},
    )
    samples = samples_of(torch.tensor([[[[0, 255]]]] * 2))
    inputs = dict(
        sup=torch.rand(2, 3, 1, 2),
        unsup_teacher=torch.rand(3, 3, 1, 2),
        unsup_student=torch.rand(3, 3, 1, 2),
        valid=torch.ones(3, 1, 2, dtype=torch.bool),
    )
    runner = build()
    runner.model.discriminator = Answers()
    runner.message_hub.update_info("iter", 1)
    losses = runner.model.loss(inputs, dict(sup=samples))
    assert losses["adv.loss_matching"].item() == pytest.approx(0.075, abs=1e-6)
    assert losses["unsup.loss_self"].item() == pytest.approx(0.2200948, abs=1e-6)
    assert losses["unsup.selected"] == 1, "a score equal to the threshold selects nothing"
    generator = total(losses) - losses["disc.loss"]
    assert generator.item() == pytest.approx(1.1950948, abs=1e-6)
    losses["unsup.loss_self"].backward()
    assert (z.grad.abs().amax((1, 2, 3)) > 0).tolist() == [True, False, False]


def test_known_answer_2_discriminator_loss(build):
    model = build().model
    answers = Answers()
    answers.scores = {2: torch.tensor([[0.3], [0.6]]).logit(), 1: torch.tensor([[0.8]]).logit()}
    answers.features = dict.fromkeys((1, 2), torch.zeros(1))
    model.discriminator = answers
    losses = model._discriminator_losses(torch.zeros(2, 6, 1, 1), torch.zeros(1, 6, 1, 1))
    assert losses["disc.loss"].item() == pytest.approx(0.4298132, abs=1e-6)
    assert losses["disc.acc"].item() == pytest.approx(100 * 2 / 3)


@pytest.mark.parametrize(
    ("gamma", "logit"), [(0.6, 0.4054651), (0.7, 0.8472979), (0.55, 0.2006707)]
)
def test_published_thresholds_on_logits(build, gamma, logit):
    """T4."""
    inputs, samples = make_batch()
    for shift, expected in ((1e-5, 4), (-1e-5, 0)):
        model = build(threshold=gamma).model
        with torch.no_grad():
            model.discriminator.classifier.weight.zero_()
            model.discriminator.classifier.bias.fill_(logit + shift)
        assert model.loss(inputs, samples)["unsup.selected"] == expected


# --- Messages -------------------------------------------------------------------------------------


def test_settings_that_do_not_work_are_refused(build, preprocessor_config):
    with pytest.raises(
        ValueError, match="S4GAN.semi_train_cfg.score_mode='x' is none of 'train', "
    ):
        build(score_mode="x")
    message = "S4GAN.discriminator.in_channels=3, but its maps have 6 channels: leave the key out"
    with pytest.raises(ValueError, match=message):
        build(discriminator=dict(in_channels=3))
    preprocessor_config["mix"] = dict(type="CutMix")
    with pytest.raises(ValueError, match="S4GAN labels the view .* remove data_preprocessor.mix"):
        build()


def test_inputs_that_do_not_work_are_refused(build, monkeypatch):
    inputs, samples = make_batch()
    with pytest.raises(ValueError, match="num_per_source.unlabeled to at least 1"):
        build().model.loss(dict(sup=inputs["sup"]), samples)
    add_gt_without_mask(inputs, samples)
    with pytest.raises(
        ValueError, match="'a.png' of the source 'gt' came without a mask: add Load"
    ):
        build().model.loss(inputs, samples)
    monkeypatch.setattr(hand_step, "SIZE", 8)
    with pytest.raises(ValueError, match="S4GANDiscriminator .* with H and W of 16 or more, got"):
        build().model.loss(*make_batch())
