# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""AdvSemiSeg: what every method must do, and its step against the reference step.

Known answers: docs/methods/advsemiseg.md.
"""

from __future__ import annotations

import copy

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
from reference.advsemiseg import advsemiseg_step
from reference.blocks import predict
from torch import Tensor, nn

from mmsemi.errors import ConfigError, DataError
from mmsemi.models.forward import Outputs
from mmsemi.structures import SemiBatch

ADVERSARIAL = ("adv.loss_labeled", "adv.loss_unlabeled", "unsup.loss_trusted")
#: No term hides behind another.
WEIGHTS = dict(adv_weight=0.5, unsup_adv_weight=0.7, unsup_weight=0.9)
SIZE = 64


class TestAdvSemiSeg(MethodTester):
    name = "advsemiseg"
    model = dict(
        type="AdvSemiSeg",
        discriminator=dict(type="FCDiscriminator", base_channels=8),
        unsup_start=0,
        **WEIGHTS,
    )
    optim_wrapper = JOINT
    unsup_losses = ADVERSARIAL[1:]


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    """The discriminator gives 64 x 64 pixels a grid of 2 x 2 logits, about half of them above 0."""

    def make(discriminator: dict | None = None, **settings):
        runner = make_method(
            segmentor_config,
            preprocessor_config,
            type="AdvSemiSeg",
            discriminator=dict(type="FCDiscriminator", base_channels=4, **(discriminator or {})),
            **settings,
        )
        with torch.no_grad():
            for parameter in runner.model.discriminator.parameters():
                parameter.mul_(3)  # torch's own initialisation gives one logit for everything
        return runner

    return make


def record(gt: bool = False) -> Recorded:
    """Unlabelled images as they are: the published method has no strong view."""
    return make_recorded(strong=False, gt=gt, size=SIZE)


def without_labels(recorded: Recorded, ignore_index: int = 255) -> Recorded:
    recorded.batch.labeled.labels_NHW.fill_(ignore_index)
    return recorded


# --- The step -------------------------------------------------------------------------------------


def judge(net: nn.Module, maps: Tensor) -> Tensor:
    """Logits (N, H, W) of a discriminator at the size of the maps."""
    size = maps.shape[-2:]
    return F.interpolate(net(maps), size, mode="bilinear", align_corners=True)[:, 0]


def trusted_share(model: nn.Module, recorded: Recorded, threshold: float, padding: bool) -> Tensor:
    """Which share of the unlabelled pixels convinces the discriminator."""
    model, unlabeled = copy.deepcopy(model), recorded.batch.unlabeled
    judged = judge(model.discriminator, predict(model.student, recorded.views[0]).softmax(1))
    valid = torch.ones_like(unlabeled.valid_NHW) if padding else unlabeled.valid_NHW
    return ((judged.sigmoid() >= threshold) & valid).sum() / max(int(valid.sum()), 1)


def check(runner, recorded: Recorded, **options) -> dict[str, Tensor]:
    """The method's step against the reference step with these options; returns its losses."""
    reference, batch = copy.deepcopy(runner.model), recorded.batch
    unlabeled = batch.unlabeled
    expected = advsemiseg_step(
        reference.student,
        reference.discriminator,
        batch.labeled.pixels_NCHW,
        batch.labeled.labels_NHW,
        recorded.views[0] if recorded.views else None,
        None if unlabeled is None else unlabeled.valid_NHW,
        batch.sources.get("gt", batch.labeled).labels_NHW,
        **options,
    )
    if unlabeled is not None:
        share = trusted_share(
            runner.model,
            recorded,
            options.get("threshold", 0.2),
            not options.get("ignore_padding", True),
        )
    losses = check_step(runner, recorded, expected, reference)
    if unlabeled is not None:
        torch.testing.assert_close(losses["unsup.trusted"], share)
    return losses


THRESHOLD = 0.6
VARIANTS = {
    "everything on": {},
    "nothing but the trusted pixels": dict(adv_weight=0.0, unsup_adv_weight=0.0),
    "D learns from labelled maps alone": dict(judge_unlabeled=False),
    "padding counts": dict(ignore_padding=False),
}


@pytest.mark.parametrize("gt", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_step_is_the_reference_step(build, variant, gt):
    """docs/methods/advsemiseg.md#step"""
    settings = {**WEIGHTS, "threshold": THRESHOLD, **VARIANTS[variant]}
    losses = check(build(**settings, unsup_start=0), record(gt), **settings)
    assert 0.2 < losses["unsup.trusted"] < 0.8, "the threshold must part the pixels"
    for key in ("sup.decode.loss_ce", "unsup.loss_trusted", "disc.loss"):
        assert losses[key] > 0.05, key
    assert 0 < losses["disc.acc"] < 100


def test_the_adversarial_mode_needs_no_unlabelled_image(build):
    """L_ce and L_adv, and D on labelled maps alone."""
    recorded = record()
    recorded.batch.unlabeled, recorded.views = None, []
    losses = check(build(adv_weight=0.5), recorded, adv_weight=0.5)
    assert not any(key.startswith("unsup") for key in losses)


@pytest.mark.parametrize(
    ("iteration", "trusted", "adversarial"), [(0, 0, 0), (4, 0, 0.7), (9, 0.9, 0.7)]
)
def test_terms_on_unlabelled_images_start_late(build, iteration, trusted, adversarial):
    """D hears of all maps from the first iteration on."""
    weights = dict(adv_weight=0.5, threshold=THRESHOLD)
    runner = build(
        **weights, unsup_weight=0.9, unsup_adv_weight=0.7, unsup_start=9, unsup_adv_start=4
    )
    runner.message_hub.update_info("iter", iteration)
    losses = check(runner, record(), **weights, unsup_weight=trusted, unsup_adv_weight=adversarial)
    assert losses["unsup.trusted"] > 0.2


def test_defaults_are_the_published_ones(build):
    """The reference's defaults; the trusted labels from iteration 5000, the rest from the first."""
    for iteration in (0, 4999, 5000):
        runner = build()
        runner.message_hub.update_info("iter", iteration)
        losses = check(runner, record(), unsup_weight=0.1 * (iteration == 5000))
    assert losses["unsup.loss_trusted"] > 0.01


def test_without_a_trusted_pixel_the_adversarial_loss_stays(build):
    """A threshold of 1 trusts nothing."""
    settings = dict(threshold=1.0, unsup_weight=0.9, unsup_adv_weight=0.7)
    losses = check(build(**settings, unsup_start=0), record(), **settings)
    assert losses["unsup.trusted"] == losses["unsup.loss_trusted"] == 0
    assert losses["unsup.loss_trusted"].requires_grad and losses["adv.loss_unlabeled"] > 0.1


def test_everything_is_trusted_with_a_threshold_of_zero(build):
    settings = dict(threshold=0.0, unsup_weight=0.9)
    losses = check(build(**settings, unsup_start=0), record(), **settings)
    assert losses["unsup.trusted"] == 1


@pytest.mark.parametrize("judge_unlabeled", [True, False])
def test_labels_that_are_all_ignored(build, judge_unlabeled):
    """The unlabelled images teach; without them in D's batch, D has nothing to learn from."""
    options = dict(judge_unlabeled=judge_unlabeled, unsup_adv_weight=0.7)
    losses = check(build(**options), without_labels(record()), unsup_weight=0, **options)
    assert losses["sup.decode.loss_ce"] == losses["adv.loss_labeled"] == 0
    assert (losses["disc.loss"] > 0) == judge_unlabeled


def test_nothing_valid_at_all(build):
    recorded = without_labels(record())
    recorded.batch.unlabeled.valid_NHW.zero_()
    runner = build(**WEIGHTS, unsup_start=0)
    losses = recorded.loss(runner.model)
    assert all(losses[key] == 0 for key in (*ADVERSARIAL, "disc.loss", "disc.acc"))
    total(losses).backward()
    found = gradients(runner.model)
    assert len(found) == len(list(runner.model.parameters()))
    assert all((gradient == 0).all() for gradient in found.values())


@pytest.mark.parametrize("ignore", [1, 250])
def test_another_ignored_label(build, segmentor_config, ignore):
    """Also one that would be a class."""
    segmentor_config["decode_head"]["ignore_index"] = ignore
    recorded = record()
    labels = recorded.batch.labeled.labels_NHW
    labels[labels == 255] = ignore
    settings = dict(WEIGHTS, threshold=THRESHOLD)
    check(build(**settings, unsup_start=0), recorded, **settings)


# --- What touches what ----------------------------------------------------------------------------


def test_each_loss_trains_one_network(build):
    model = build(**WEIGHTS, unsup_start=0, threshold=THRESHOLD).model
    assert_each_loss_trains_one_network(model, record().loss(model))


def give_logits(monkeypatch, *logits: Tensor) -> None:
    """Let the student give these logits, call by call."""
    outputs = iter(logits)
    for module in ("advsemiseg", "base"):  # labelled images, strong views
        monkeypatch.setattr(
            f"mmsemi.models.segmentors.{module}.forward",
            lambda *_: (lambda z: Outputs(None, [z], z))(next(outputs)),
        )


@pytest.mark.parametrize("ignore_padding", [True, False])
def test_padding_gives_no_gradient_to_the_unlabelled_logits(build, monkeypatch, ignore_padding):
    """At the pixels themselves: the discriminator's view of the rest does reach over the border."""
    recorded = record()
    logits = torch.randn(4, 3, SIZE, SIZE, dtype=torch.float64, requires_grad=True)
    give_logits(monkeypatch, logits, torch.zeros(2, 3, SIZE, SIZE, dtype=torch.float64))
    model = build(**WEIGHTS, unsup_start=0, ignore_padding=ignore_padding).model
    model._discriminate = lambda maps, frozen=False: 0 * maps[:, :1]
    recorded.loss(model)["unsup.loss_trusted"].backward()
    reached, valid = (logits.grad != 0).any(1), recorded.batch.unlabeled.valid_NHW
    assert torch.equal(reached, valid) if ignore_padding else reached.all()


@pytest.mark.parametrize("size", [(64, 96), (33, 70)])
def test_the_discriminator_logits_have_height_and_width_of_the_maps(build, size):
    """(H, W), align_corners=True."""
    model = build().model
    maps = torch.rand(2, 3, *size, dtype=torch.float64)
    judged = model._discriminate(maps)
    assert judged.shape == (2, 1, *size)
    torch.testing.assert_close(judged[:, 0], judge(model.discriminator, maps))
    torch.testing.assert_close(model._discriminate(maps, frozen=True), judged)
    grid = model.discriminator(maps)
    torch.testing.assert_close(judged[:, :, 0, 0], grid[:, :, 0, 0])
    if min(grid.shape[2:]) > 1:
        torch.testing.assert_close(judged[:, :, -1, -1], grid[:, :, -1, -1])


def test_what_is_shown_of_the_labels(build):
    recorded = record()
    model = build(threshold=THRESHOLD).model
    model.wants_to_show = True
    losses = recorded.loss(model)
    shown = model.shown
    kept = shown.target_BHW != 255
    share = kept.sum() / recorded.batch.unlabeled.valid_NHW.sum()
    torch.testing.assert_close(losses["unsup.trusted"], share)
    assert torch.equal(shown.pseudo.label_NHW[kept], shown.target_BHW[kept])
    assert torch.equal(shown.views_BCHW, recorded.views[0])
    assert shown.first_B.tolist() == [0, 1, 2, 3]


# --- Known answers --------------------------------------------------------------------------------
# docs/methods/advsemiseg.md#losses-by-hand


def pixels(*values: tuple[float, ...]) -> Tensor:
    """Logits of one image from its pixels' class logits, (1, 3, 1, W); a missing class is hopeless."""
    rows = [(*value, *[-1e4] * (3 - len(value))) for value in values]
    return torch.tensor(rows, dtype=torch.float32).t()[None, :, None].contiguous()


LABELED = pixels((2, 0, 0), (0, 1, 0), (7, 8, 9), (0, 0, 0))
UNLABELED = pixels((1, 0), (0, 3), (2, 0), (0, 0.5))
ON_LABELED = torch.tensor([0.0, 2, -1, 5]).view(1, 1, 1, 4)
ON_UNLABELED = torch.tensor([-1.38, -1.40, 0, 2]).view(1, 1, 1, 4)


def known_batch(*labels: list[int], **sources: list[int]) -> Recorded:
    """One labelled and one unlabelled image of a row of pixels, and images of further sources."""

    def images(row: list[int]):
        return make_images(torch.zeros(1, 3, 1, len(row)), torch.tensor([[row]]))

    labeled = images(*labels)
    unlabeled = make_images(labeled.pixels_NCHW)
    further = {name: images(row) for name, row in sources.items()}
    return Recorded(SemiBatch(labeled, unlabeled, further), [unlabeled.pixels_NCHW])


def test_the_losses_of_the_student(build, monkeypatch):
    """The discriminator is asked for the maps of both."""
    give_logits(monkeypatch, UNLABELED, LABELED)
    runner = build()
    answers = iter([ON_LABELED, ON_UNLABELED])

    def discriminate(maps: Tensor, frozen: bool = False) -> Tensor:
        return next(answers) if frozen else torch.zeros(len(maps), 1, 1, 4)

    runner.model._discriminate = discriminate
    runner.message_hub.update_info("iter", 5000)
    losses = known_batch([0, 2, 255, 255]).loss(runner.model)
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


@pytest.mark.parametrize(("label", "expected"), [(0, 0.3776042), (255, 0.4742197)])
def test_the_loss_of_the_discriminator(build, monkeypatch, label, expected):
    """One mean over the maps of labelled and unlabelled images together."""
    give_logits(monkeypatch, UNLABELED[..., :2], LABELED[..., :2])
    model = build().model
    real = torch.tensor([[[[3.0, -7]]]])
    fake = torch.tensor([[[[1.0, -2]]], [[[0.0, 0]]]])  # labelled, unlabelled
    answers = iter([0 * real, 0 * real, real, fake])
    model._discriminate = lambda maps, frozen=False: next(answers)
    losses = known_batch([0, label], gt=[1, 255]).loss(model)
    assert losses["disc.loss"].item() == pytest.approx(expected, abs=1e-6)
    # Right are the real pixel, the fake -2 if it counts, and the two on the fence.
    right = 100 * 4 / 5 if label == 0 else 100 * 3 / 4
    assert losses["disc.acc"].item() == pytest.approx(right)


def test_the_discriminator_sees_one_hot_maps_of_the_truth(build, monkeypatch):
    """Ignored pixels are all zero; fakes are detached softmax maps."""
    labeled, unlabeled = (z[..., :3].requires_grad_() for z in (LABELED * 1, UNLABELED * 1))
    give_logits(monkeypatch, unlabeled, labeled)
    model, seen = build().model, []

    def discriminate(maps: Tensor, frozen: bool = False) -> Tensor:
        seen.append(maps)
        assert frozen == maps.requires_grad
        return maps[:, :1] * 0

    model._discriminate = discriminate
    known_batch([0, 1, 2], gt=[2, 255, 0]).loss(model)
    of_labeled, of_unlabeled, real, fake = seen
    assert real[0, :, 0].t().tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert torch.equal(of_labeled, labeled.softmax(1))
    assert torch.equal(of_unlabeled, unlabeled.softmax(1))
    assert torch.equal(fake, torch.cat([of_labeled, of_unlabeled]))


# --- Refusals -------------------------------------------------------------------------------------


def test_settings_that_no_run_can_mean_are_refused(build):
    for settings in (dict(unsup_wieght=1.0), dict(mix=dict(type="CutMix"))):
        with pytest.raises(ConfigError, match=f"AdvSemiSeg .*'{next(iter(settings))}'"):
            build(**settings)
    with pytest.raises(ConfigError, match="AdvSemiSeg.discriminator.in_channels=5.* 3 channels"):
        build(discriminator=dict(in_channels=5))
    assert build(discriminator=dict(in_channels=3)).model.discriminator.in_channels == 3


def test_batches_that_do_not_work_are_refused(build):
    recorded = record(gt=True)
    recorded.batch.sources["gt"].labels_NHW = None
    with pytest.raises(DataError, match=r"'0.png' .*sources\.gt\.pipeline"):
        recorded.loss(build().model)
    recorded.batch.labeled = None
    with pytest.raises(ConfigError, match=r"num_per_source\.labeled"):
        recorded.loss(build().model)
    with pytest.raises(ConfigError, match="FCDiscriminator .*32"):
        make_recorded(strong=False).loss(build().model)
