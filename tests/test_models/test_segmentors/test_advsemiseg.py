# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""AdvSemiSeg: what every method must do, and its step against alternating updates by hand.

Numbers of known answers, sections and traps are those of methods/adversarial.md.
"""

from __future__ import annotations

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

ADVERSARIAL = ("adv.loss_labeled", "adv.loss_unlabeled", "unsup.loss_trusted")
#: No term hides behind another, and all count from the start.
WEIGHTS = dict(adv_weight=0.5, unsup_adv_weight=0.7, unsup_weight=0.9, unsup_start=0)


class TestAdvSemiSeg(MethodTester):
    name = "advsemiseg"
    model = dict(
        type="AdvSemiSeg",
        discriminator=dict(type="FCDiscriminator", base_channels=8),
        semi_train_cfg=WEIGHTS,
    )
    optim_wrapper = JOINT
    unsup_losses = ADVERSARIAL[1:]


@pytest.fixture
def build(segmentor_config, preprocessor_config, monkeypatch):
    """On 64 x 64 pixels the verdict is a grid of 2 x 2, and about half of it is above the middle."""
    monkeypatch.setattr(hand_step, "SIZE", 64)

    def make(discriminator: dict | None = None, **settings):
        runner = make_method(
            segmentor_config,
            preprocessor_config,
            type="AdvSemiSeg",
            discriminator=dict(type="FCDiscriminator", base_channels=4, **(discriminator or {})),
            semi_train_cfg=settings,
        )
        net = runner.model.discriminator
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(3)  # torch's own initialisation gives one verdict on everything
        return runner

    return make


# --- The step (section 2) -------------------------------------------------------------------------


def mean_over(valid, values):
    """Section 3: the mean over the valid pixels; T5: 0 without one."""
    return (values * valid).sum() / max(int(valid.sum()), 1)


def verdict(net, maps):
    """U(D(maps)), T12 and T13."""
    size = maps.shape[-2:]
    return F.interpolate(net(maps), size, mode="bilinear", align_corners=True)[:, 0]


def cross_entropy(z, labels, ignore):
    valid = labels != ignore
    pixels = F.cross_entropy(z, torch.where(valid, labels, 0), reduction="none")
    return mean_over(valid, pixels)


def alternating_step(
    model,
    inputs,
    samples,
    threshold=0.2,
    adv_weight=0.01,
    unsup_adv_weight=0.001,
    unsup_weight=0.1,
    ignore_padding=True,
    judge_unlabeled=True,
    ignore=255,
):
    """Steps 2 to 7 with D frozen for the generator; gradients stay in ``model``."""
    student, net, losses = model.student, model.discriminator, {}
    labels = ground_truth(samples)
    real = torch.stack([s.gt_sem_seg.data[0] for s in samples.get("gt", samples["sup"])])
    net.requires_grad_(False)
    fakes, counted = [], []
    if "unsup_student" in inputs:
        z = logits(student, inputs["unsup_student"])
        valid = inputs["valid"] if ignore_padding else torch.ones_like(inputs["valid"])
        judged = verdict(net, z.softmax(1))
        pseudo = z.detach().argmax(1)
        pseudo[(judged.detach().sigmoid() < threshold) | ~valid] = ignore
        losses["adv.loss_unlabeled"] = unsup_adv_weight * mean_over(valid, F.softplus(-judged))
        losses["unsup.loss_trusted"] = unsup_weight * cross_entropy(z, pseudo, ignore)
        losses["unsup.trusted"] = (pseudo != ignore).sum() / max(int(valid.sum()), 1)
        if judge_unlabeled:
            fakes, counted = [z.detach().softmax(1)], [valid]
    z, valid = logits(student, inputs["sup"]), labels != ignore
    losses["sup.decode.loss_ce"] = cross_entropy(z, labels, ignore)
    judged = verdict(net, z.softmax(1))
    losses["adv.loss_labeled"] = adv_weight * mean_over(valid, F.softplus(-judged))
    total(losses).backward()
    assert all(parameter.grad is None for parameter in net.parameters())

    net.requires_grad_(True)
    judged = verdict(net, torch.cat([*fakes, z.detach().softmax(1)]))
    on_fakes = mean_over(torch.cat([*counted, valid]), F.softplus(judged))
    one_hot = torch.stack([real == c for c in range(3)], 1) & (real != ignore)[:, None]
    judged = verdict(net, one_hot.double())
    losses["disc.loss"] = (on_fakes + mean_over(real != ignore, F.softplus(-judged))) / 2
    losses["disc.loss"].backward()
    return losses


check_step = partial(check_any_step, by_hand=alternating_step)
THRESHOLD = 0.6
VARIANTS = {
    "everything on": {},
    "nothing but the trusted pixels": dict(adv_weight=0.0, unsup_adv_weight=0.0),
    "D learns from labelled maps alone (T9)": dict(judge_unlabeled=False),
    "padding counts (T8)": dict(ignore_padding=False),
}


@pytest.mark.parametrize("source", ["sup", "gt"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_step_equals_alternating_updates(build, variant, source):
    settings = {**WEIGHTS, "threshold": THRESHOLD, **VARIANTS[variant]}
    inputs, samples = make_batch(strong=False)
    if source == "gt":
        add_gt_source(inputs, samples)
    runner = build(**settings)
    settings.pop("unsup_start")
    losses = check_step(runner, inputs, samples, **settings)
    assert 0.2 < losses["unsup.trusted"] < 0.8, "the threshold must part the pixels"
    for key in ("sup.decode.loss_ce", "unsup.loss_trusted", "disc.loss"):
        assert losses[key] > 0.05, key
    assert 0 < losses["disc.acc"] < 100


def test_the_adversarial_mode_needs_no_unlabelled_image(build):
    """Section 1 and T10: L_ce and L_adv, and D on labelled maps alone."""
    inputs, samples = make_batch()
    runner = build(adv_weight=0.5)
    losses = check_step(runner, dict(sup=inputs["sup"]), samples, adv_weight=0.5)
    assert not any(key.startswith("unsup") for key in losses)


@pytest.mark.parametrize(
    ("iteration", "trusted", "adversarial"), [(0, 0, 0), (4, 0, 0.7), (9, 0.9, 0.7)]
)
def test_terms_on_unlabelled_images_start_late(build, iteration, trusted, adversarial):
    """Section 2: D hears of all maps from the first iteration on."""
    weights = dict(adv_weight=0.5, threshold=THRESHOLD)
    runner = build(
        **weights, unsup_weight=0.9, unsup_adv_weight=0.7, unsup_start=9, unsup_adv_start=4
    )
    runner.message_hub.update_info("iter", iteration)
    losses = check_step(
        runner, *make_batch(), **weights, unsup_weight=trusted, unsup_adv_weight=adversarial
    )
    assert losses["unsup.trusted"] > 0.2


def test_defaults_are_the_published_ones(build):
    """Weights 0.01, 0.001, 0.1 (T6), T = 0.2; L_semi from iteration 5000, the rest from the first."""
    inputs, samples = make_batch()
    for iteration in (0, 4999, 5000):
        runner = build()
        runner.message_hub.update_info("iter", iteration)
        losses = check_step(runner, inputs, samples, unsup_weight=0.1 * (iteration == 5000))
    assert losses["unsup.loss_trusted"] > 0.01


def test_without_a_trusted_pixel_the_adversarial_loss_stays(build):
    """T4; T = 1 trusts nothing."""
    settings = dict(threshold=1.0, unsup_weight=0.9, unsup_adv_weight=0.7)
    losses = check_step(build(**settings, unsup_start=0), *make_batch(), **settings)
    assert losses["unsup.trusted"] == losses["unsup.loss_trusted"] == 0
    assert losses["unsup.loss_trusted"].requires_grad and losses["adv.loss_unlabeled"] > 0.1


def test_everything_is_trusted_with_a_threshold_of_zero(build):
    settings = dict(threshold=0.0, unsup_weight=0.9)
    losses = check_step(build(**settings, unsup_start=0), *make_batch(), **settings)
    assert losses["unsup.trusted"] == 1


@pytest.mark.parametrize("judge_unlabeled", [True, False])
def test_labels_that_are_all_ignored(build, judge_unlabeled):
    """The unlabelled images teach; without them in D's batch, D has nothing to learn from."""
    inputs, samples = make_batch()
    for sample in samples["sup"]:
        sample.gt_sem_seg.data.fill_(255)
    options = dict(judge_unlabeled=judge_unlabeled, unsup_adv_weight=0.7)
    losses = check_step(build(**options), inputs, samples, unsup_weight=0, **options)
    assert losses["sup.decode.loss_ce"] == losses["adv.loss_labeled"] == 0
    assert (losses["disc.loss"] > 0) == judge_unlabeled


def test_nothing_valid_at_all(build):
    inputs, samples = make_batch()
    for sample in samples["sup"]:
        sample.gt_sem_seg.data.fill_(255)
    inputs["valid"].zero_()
    runner = build(**WEIGHTS)
    losses = runner.model.loss(inputs, samples)
    assert all(losses[key] == 0 for key in (*ADVERSARIAL, "disc.loss", "disc.acc"))
    total(losses).backward()
    found = gradients(runner.model)
    assert len(found) == len(list(runner.model.parameters()))
    assert all((gradient == 0).all() for gradient in found.values())


@pytest.mark.parametrize("ignore", [1, 250])
def test_another_ignored_label(build, segmentor_config, ignore):
    """T15, and an ignored label that would be a class."""
    segmentor_config["decode_head"]["ignore_index"] = ignore
    inputs, samples = make_batch()
    for sample in samples["sup"]:
        data = sample.gt_sem_seg.data
        data[data == 255] = ignore
    settings = dict(threshold=THRESHOLD, adv_weight=0.5, unsup_adv_weight=0.7, unsup_weight=0.9)
    check_step(build(**settings, unsup_start=0), inputs, samples, ignore=ignore, **settings)


# --- What touches what ----------------------------------------------------------------------------


def test_each_loss_trains_one_network(build):
    model = build(**WEIGHTS, threshold=THRESHOLD).model
    assert_each_loss_trains_one_network(model, model.loss(*make_batch()))


def test_padding_gives_no_gradient_to_the_unlabelled_logits(build):
    """T8, at the pixels themselves: D's view of the rest does reach over the border."""
    inputs, samples = make_batch()
    judged = torch.zeros(4, 1, 64, 64, dtype=torch.float64)
    for ignore_padding in (True, False):
        model = build(**WEIGHTS, ignore_padding=ignore_padding).model
        model._judge = lambda maps, frozen=False: judged + 0 * maps[:, :1]
        outputs = torch.randn(4, 3, 64, 64, dtype=torch.float64, requires_grad=True)
        losses, _, valid = model._unlabeled_losses(outputs, inputs)
        losses["unsup.loss_trusted"].backward()
        assert torch.equal((outputs.grad != 0).any(1), valid)
        assert bool(valid.all()) != ignore_padding


@pytest.mark.parametrize("size", [(64, 96), (33, 70)])
def test_the_verdict_has_height_and_width_of_the_maps(build, size):
    """T12, T13: (H, W), align_corners=True."""
    model = build().model
    maps = torch.rand(2, 3, *size, dtype=torch.float64)
    judged = model._judge(maps)
    assert judged.shape == (2, 1, *size)
    torch.testing.assert_close(judged[:, 0], verdict(model.discriminator, maps))
    grid = model.discriminator(maps)
    torch.testing.assert_close(judged[:, :, 0, 0], grid[:, :, 0, 0])
    if min(grid.shape[2:]) > 1:
        torch.testing.assert_close(judged[:, :, -1, -1], grid[:, :, -1, -1])


def test_what_is_shown_of_the_labels(build):
    inputs, samples = make_batch(strong=False)
    model = build(threshold=THRESHOLD).model
    model.keep_visuals = True
    losses = model.loss(inputs, samples)
    shown = model.visuals
    share = (shown["target"] != 255).sum() / inputs["valid"].sum()
    torch.testing.assert_close(losses["unsup.trusted"], share)
    assert torch.equal(
        shown["label"][shown["target"] != 255], shown["target"][shown["target"] != 255]
    )


# --- Known answers --------------------------------------------------------------------------------


def pixels(*values: tuple[float, ...]) -> torch.Tensor:
    """Logits of one image from its pixels' class logits, (1, 3, 1, W); a missing class is hopeless."""
    rows = [(*value, *[-1e4] * (3 - len(value))) for value in values]
    return torch.tensor(rows, dtype=torch.float32).t()[None, :, None].contiguous()


K1 = pixels((2, 0, 0), (0, 1, 0), (7, 8, 9), (0, 0, 0))
K4 = pixels((1, 0), (0, 3), (2, 0), (0, 0.5))
K2_VERDICT = torch.tensor([0.0, 2, -1, 5]).view(1, 1, 1, 4)
K4_VERDICT = torch.tensor([-1.38, -1.40, 0, 2]).view(1, 1, 1, 4)


def test_known_answer_5_total(build, monkeypatch):
    """K1, K2 and K4 as the outputs of the networks; the discriminator is asked for each of them."""
    inputs = dict(sup="K1", unsup_student="K4", valid=torch.ones(1, 1, 4, dtype=torch.bool))
    outputs = dict(K1=K1, K4=K4)
    monkeypatch.setattr(
        "mmsemi.models.segmentors.advsemiseg.forward_network",
        lambda _, x: Outputs(None, [outputs[x]], outputs[x]),
    )
    runner = build()
    verdicts = iter([K2_VERDICT, K4_VERDICT])

    def judge(maps, frozen=False):
        return next(verdicts) if frozen else torch.zeros(len(maps), 1, 1, 4)

    runner.model._judge = judge
    runner.message_hub.update_info("iter", 5000)
    losses = runner.model.loss(inputs, dict(sup=samples_of(torch.tensor([[[[0, 2, 255, 255]]]]))))
    expected = {
        "sup.decode.loss_ce": 0.8954948,
        "adv.loss_labeled": 0.01 * 0.4100376,
        "adv.loss_unlabeled": 0.001 * 1.0112245,
        "unsup.loss_trusted": 0.1 * 0.3047556,
        "unsup.trusted": 0.75,
    }
    for key, value in expected.items():
        assert losses[key].item() == pytest.approx(value, abs=1e-6), key
    generator = total(losses) - losses["disc.loss"]
    assert generator.item() == pytest.approx(0.9310819, abs=1e-6)


@pytest.mark.parametrize(("is_valid", "expected"), [(True, 0.3776042), (False, 0.4742197)])
def test_known_answer_3_discriminator_loss(build, is_valid, expected):
    """One mean over the maps of labelled and unlabelled images together."""
    model = build().model
    verdicts = iter([torch.tensor([[[[3.0, -7]]]]), torch.tensor([[[[1.0, -2]]], [[[0.0, 0]]]])])
    model._judge = lambda maps: next(verdicts)
    fakes = [torch.rand(1, 3, 1, 2)] * 2
    valid = [torch.tensor([[[True, is_valid]]]), torch.ones(1, 1, 2, dtype=torch.bool)]
    losses = model._discriminator_losses(fakes, valid, torch.tensor([[[1, 255]]]))
    assert losses["disc.loss"].item() == pytest.approx(expected, abs=1e-6)
    # Right are the real pixel, the fake -2 if it counts, and the two on the fence.
    right = 100 * 4 / 5 if is_valid else 100 * 3 / 4
    assert losses["disc.acc"].item() == pytest.approx(right)


def test_the_discriminator_sees_one_hot_maps_of_the_truth(build):
    """Step 7: ignored pixels are all zero; fakes are detached softmax maps."""
    model, seen = build().model, []
    model._judge = lambda maps: seen.append(maps) or maps[:, :1] * 0
    fake = torch.rand(1, 3, 1, 3, requires_grad=True)
    labels = torch.tensor([[[2, 255, 0]]])
    model._discriminator_losses([fake], [labels >= 0], labels)
    assert seen[0][0, :, 0].t().tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert torch.equal(seen[1], fake) and not seen[1].requires_grad


# --- Messages -------------------------------------------------------------------------------------


def test_settings_that_do_not_work_are_refused(build, preprocessor_config):
    with pytest.raises(ValueError, match="'unsup_wieght' in AdvSemiSeg.semi_train_cfg"):
        build(unsup_wieght=1.0)
    message = "AdvSemiSeg.discriminator.in_channels=5, but its maps have 3 channels: leave the key"
    with pytest.raises(ValueError, match=message):
        build(discriminator=dict(in_channels=5))
    assert build(discriminator=dict(in_channels=3)).model.discriminator.in_channels == 3
    preprocessor_config["mix"] = dict(type="CutMix")
    with pytest.raises(
        ValueError, match="AdvSemiSeg labels the view .* remove data_preprocessor.m"
    ):
        build()


def test_inputs_that_do_not_work_are_refused(build, monkeypatch):
    inputs, samples = make_batch()
    with pytest.raises(TypeError, match="num_per_source.labeled of at least 1"):
        build().model.loss(dict(unsup_student=inputs["unsup_student"]), samples)
    add_gt_without_mask(inputs, samples)
    with pytest.raises(
        ValueError, match="'a.png' of the source 'gt' came without a mask: add Load"
    ):
        build().model.loss(inputs, samples)
    monkeypatch.setattr(hand_step, "SIZE", 16)
    with pytest.raises(ValueError, match="FCDiscriminator .* with H and W of 32 or more, got"):
        build().model.loss(*make_batch())
