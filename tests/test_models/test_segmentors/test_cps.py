# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CPS, both forms: what every method must do, and its step against the reference step.

Known answers: docs/methods/cps.md.
"""

from __future__ import annotations

import copy

import pytest
import torch
from method_tester import MethodTester
from mmengine.logging import MessageHub
from mmseg.registry import MODELS
from recorded import Recorded, check_step, make_method, make_recorded, total
from reference.cps import cps_step
from step_runner import StepRunner

from mmsemi.errors import ConfigError
from mmsemi.models.forward import forward
from mmsemi.models.views import MixRecipe


class TestCPS(MethodTester):
    name = "cps"
    model = dict(type="CPS", unsup_weight=1.5)
    networks = [0, 1, "ensemble"]
    predict_on = 0
    unsup_losses = ("unsup.loss_cps",)
    golden_std = 0.01  # mmseg's own


class TestCPSCutMix(TestCPS):
    name = "cps_cutmix"
    model = dict(type="CPS", unsup_weight=1.0, mix=dict(type="CutMix"))


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(**settings):
        return make_method(segmentor_config, preprocessor_config, type="CPS", **settings)

    return make


def test_a_weight_file_in_mmsegs_old_setting(segmentor_config, preprocessor_config):
    """mmseg writes ``pretrained`` of a segmentor into the part of its backbone."""
    segmentor_config.update(pretrained="weights.pth")
    segmentor_config["backbone"].pop("init_cfg", None)
    cfg = dict(type="CPS", segmentor=segmentor_config, data_preprocessor=preprocessor_config)
    for net in MODELS.build(cfg).branches:
        assert net.backbone.init_cfg["checkpoint"] == "weights.pth"
    assert segmentor_config["pretrained"] == "weights.pth"


PAIRINGS = [None, "halves"]


def check(runner: StepRunner, recorded: Recorded) -> None:
    reference = copy.deepcopy(runner.model)
    expected = recorded.reference(cps_step, reference.branches, settings=reference.settings)
    check_step(runner, recorded, expected, reference)


@pytest.mark.parametrize("pairing", [*PAIRINGS, "permute"])
@pytest.mark.parametrize("strong", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        dict(),  # the released form
        dict(joint_forward=True),
        dict(ignore_padding=True, unsup_weight=0.1),
    ],
)
def test_the_step_is_the_reference_step(build, settings, strong, pairing):
    check(build(**settings), make_recorded(pairing, strong=strong))


def test_the_step_of_two_architectures_is_the_reference_step(build, segmentor_config):
    second = copy.deepcopy(segmentor_config)
    second["backbone"].update(base_channels=8)
    second["decode_head"].update(in_channels=16, dropout_ratio=0)
    runner = build(segmentor2=second)
    assert [net.backbone.base_channels for net in runner.model.branches] == [4, 8]
    check(runner, make_recorded("halves"))


@pytest.mark.parametrize(("pairing", "passes"), [(None, 2), ("halves", 4)])
def test_batch_norm_sees_each_stream(build, pairing, passes):
    for joint, expected in ((False, passes), (True, passes // 2)):
        model = build(joint_forward=joint).model
        make_recorded(pairing).loss(model)
        for net in model.branches:
            assert net.backbone.bn1.num_batches_tracked == expected


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_joint_forward_is_the_same_without_batch_norm(build, pairing):
    """Only the batch statistics differ: in eval mode both forms agree."""
    models = [build(joint_forward=joint).model for joint in (False, True)]
    models[1].load_state_dict(models[0].state_dict())
    values = [total(make_recorded(pairing).loss(model.eval())) for model in models]
    torch.testing.assert_close(*values)


def test_pseudo_labels_carry_no_gradient(build):
    """The mixed form labels the weak views, and learns on the mixed ones."""
    recorded = make_recorded("halves")
    weak = recorded.batch.unlabeled.pixels_NCHW.requires_grad_()
    strong = recorded.views[0] = recorded.views[0].detach().requires_grad_()
    loss = recorded.loss(build().model)["unsup.loss_cps"]
    to_weak, to_strong = torch.autograd.grad(loss, [weak, strong], allow_unused=True)
    assert to_weak is None and to_strong.abs().sum() > 0


def test_branches_start_different_and_share_nothing(build):
    branches = build().model.branches
    pairs = list(zip(branches[0].parameters(), branches[1].parameters()))
    assert any(not torch.equal(a, b) for a, b in pairs)
    assert all(a.data_ptr() != b.data_ptr() for a, b in pairs)


@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("ignore_padding", [False, True])
def test_padding_counts_unless_told_otherwise(build, pairing, ignore_padding, monkeypatch):
    """Pixels whose label comes from padding reach the cross loss only by default."""
    recorded, seen = make_recorded(pairing), []
    monkeypatch.setattr(
        "mmsemi.models.segmentors.cps.cross_entropy",
        lambda logits, labels, ignore_index: (
            seen.append(labels == ignore_index) or logits.sum() * 0
        ),
    )
    recorded.loss(build(ignore_padding=ignore_padding).model)
    want = torch.zeros_like(seen[0])
    if ignore_padding:
        want = ~recorded.mixed_valid
        if pairing is None:
            want = torch.cat([recorded.batch.labeled.labels_NHW == 255, want])
    assert len(seen) == 2 and all(torch.equal(one, want) for one in seen)
    assert want.any() == ignore_padding


def test_all_ignored_labels_give_zero_with_a_graph(build):
    recorded = make_recorded()
    recorded.batch.labeled.labels_NHW.fill_(255)
    losses = recorded.loss(build().model)
    assert losses["sup.0.decode.loss_ce"] == 0 and losses["sup.0.decode.loss_ce"].requires_grad
    assert torch.isfinite(total(losses))


def test_logged_values_are_few_and_statistics_are_not_summed(build):
    model = build().model
    losses = make_recorded("halves").loss(model)
    total_loss, log = model.parse_losses(losses)
    assert len(log) <= 8
    torch.testing.assert_close(total_loss, total(losses))
    assert 0 <= losses["unsup.agree"] <= 1 and losses["unsup.agree"].dim() == 0


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_what_is_shown_of_the_labels(build, pairing):
    """Those of the first network, which the second learns from."""
    recorded, model = make_recorded(pairing), build().model
    model.wants_to_show = True
    recorded.loss(model)
    shown, recipe = model.shown, recorded.recipes[0] if pairing else None
    label, view = shown.pseudo.label_NHW, recorded.views[0]
    assert label.shape == shown.pseudo.confidence_NHW.shape == (4, 16, 16)
    assert shown.first_B.tolist() == ([0, 1] if pairing else [0, 1, 2, 3])
    assert torch.equal(shown.target_BHW, recipe.apply(label) if recipe else label)
    assert torch.equal(shown.views_BCHW, recipe.apply(view) if recipe else view)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_agreement_is_the_share_of_unlabelled_pixels_with_equal_labels(build, pairing):
    recorded, model = make_recorded(pairing), build().model
    if pairing is None:
        streams, recipe = recorded.views, MixRecipe.unmixed(recorded.batch.unlabeled)
    else:
        streams, recipe = recorded.batch.unlabeled.pixels_NCHW.split(2), recorded.recipes[0]
    labels = [
        recipe.apply(torch.cat([forward(net, x).logits_NCHW for x in streams]).argmax(1))
        for net in copy.deepcopy(model.branches)
    ]
    share = (labels[0] == labels[1]).double().mean().item()
    assert recorded.loss(model)["unsup.agree"].item() == pytest.approx(share)
    assert 0.1 < share < 0.9


def test_missing_unlabelled_images_say_what_to_set(build):
    recorded = make_recorded()
    recorded.batch.unlabeled = None
    with pytest.raises(ConfigError, match=r"num_per_source\.unlabeled"):
        recorded.loss(build().model)


@pytest.mark.parametrize(
    "settings",
    [dict(predict_on=2), dict(predict_on="student"), dict(predict_on=True), dict(unsup_weight=-1)],
)
def test_settings_that_no_run_can_mean_are_refused(build, settings):
    ((name, value),) = settings.items()
    with pytest.raises(ConfigError, match=rf"CPS\.{name}={value!r}"):
        build(**settings)


def test_a_second_network_of_other_classes_is_refused(build, segmentor_config):
    second = copy.deepcopy(segmentor_config)
    second["decode_head"]["num_classes"] = 5
    with pytest.raises(ConfigError, match=r"CPS\.segmentor2=.*\[3, 5\]"):
        build(segmentor2=second)


def test_a_second_preprocessor_is_refused(build, segmentor_config, preprocessor_config):
    with pytest.raises(ConfigError, match=r"CPS\.segmentor2=.*data_preprocessor"):
        build(segmentor2=dict(segmentor_config, data_preprocessor=preprocessor_config))


def test_predictions_of_each_branch_and_of_both(build):
    model = build().model.eval()
    x = torch.randn(1, 3, 20, 24, dtype=torch.float64)
    with torch.no_grad():
        each = [model.branches[i].predict(x)[0].seg_logits.data for i in range(2)]
        for i in range(2):
            with model.predicting_on(i):
                assert torch.equal(model.predict(x)[0].seg_logits.data, each[i])
        with model.predicting_on("ensemble"):
            both = model.predict(x)[0]
    mean = torch.stack([one.float().softmax(0) for one in each]).mean(0)
    torch.testing.assert_close(both.seg_logits.data.softmax(0), mean)
    assert torch.equal(both.pred_sem_seg.data[0], mean.argmax(0))
    assert model.predict_on == 0


@pytest.mark.parametrize(("iteration", "share"), [(0, 0.006737947), (10, 0.2865048), (20, 1.0)])
def test_the_ramp_up_follows_the_runner_s_iteration(build, iteration, share):
    """exp(-5 (1 - t/20)^2) of lambda; the runner's count survives a resume."""
    losses = []
    for settings in (dict(), dict(rampup_iters=20)):
        model = build(**settings).model
        MessageHub.get_current_instance().update_info("iter", iteration)
        losses.append(make_recorded("halves").loss(model)["unsup.loss_cps"])
    torch.testing.assert_close(losses[1], losses[0] * share)
