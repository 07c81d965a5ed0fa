# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""UniMatch V2: what every method must do, and its step against the reference step.

Known answers: docs/methods/unimatch_v2.md. Those of its DINOv2 encoder and DPT head are tested with them.
"""

from __future__ import annotations

import copy

import pytest
import torch
from method_runs import train_rank
from method_tester import MethodTester
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from recorded import (
    MIXED_LOGITS,
    PASTED_LOGITS,
    WEAK_LOGITS,
    check_shown_labels,
    check_step,
    gradients,
    make_case_by_hand,
    make_method,
    make_recorded,
    total,
)
from reference.unimatch_v2 import unimatch_v2_step
from tiny_nets import FCN, VIT
from watchers import differing

from mmsemi.errors import ConfigError
from mmsemi.models.forward import Outputs
from mmsemi.models.segmentors.unimatch_v2 import complementary_factors

V2 = "mmsemi.models.segmentors.unimatch_v2"


class TestUniMatchV2(MethodTester):
    name = "unimatch_v2"
    model = dict(
        type="UniMatchV2",
        strong=dict(type="StrongPhotometric"),
        mix=dict(type="SingleBoxCutMix", pairing="reverse"),
        threshold=0.4,
        rampup_iters=6,
    )
    networks = ["student", "teacher"]
    predict_on = "teacher"
    unsup_losses = ("unsup.loss_strong",)

    def test_two_ranks_of_a_transformer_stay_equal(self, gloo_pool, tmp_path):
        """DDP waits for the gradient of every weight: none of the encoder's may be without one."""
        config = self.runner_config(tmp_path, max_iters=2, launcher="pytorch")
        config["model"] = self.model_config(VIT)
        config["randomness"] = dict(seed=0, diff_rank_seed=True)
        config["default_hooks"]["checkpoint"]["interval"] = 100
        first, second = gloo_pool.run(train_rank, config)
        assert not differing(first, second)
        start = self.step_runner(VIT).model.state_dict()
        encoder = [name for name in first if name.startswith("student.backbone.")]
        assert encoder and not [name for name in encoder if first[name].isnan().any()]
        assert start.keys() >= first.keys()


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    """With mmseg's DeepLabv3+, which reads two feature maps of different widths."""
    head = segmentor_config["decode_head"]
    head.pop("num_convs")
    head.update(
        type="DepthwiseSeparableASPPHead", dilations=(1, 2), c1_in_channels=4, c1_channels=4
    )

    def make(**settings):
        settings = {"threshold": 0.45, "strong": dict(type="StrongPhotometric"), **settings}
        return make_method(segmentor_config, preprocessor_config, type="UniMatchV2", **settings)

    return make


# --- The step -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "pairing"),
    [
        (dict(), "reverse"),  # the released form
        (dict(), None),
        (dict(labeled_forward="strong", sup_weight=0.7, unsup_weight=2.0), "reverse"),
        (dict(labeled_forward="strong", kept_pairs=1.0), "halves"),
        (dict(kept_pairs=0.0), "permute"),
    ],
)
def test_the_step_is_the_reference_step(build, settings, pairing, monkeypatch):
    runner = build(**settings)
    model, reference = runner.model, copy.deepcopy(runner.model)
    cfg, recorded, factors = model.settings, make_recorded(pairing, views=2), []

    def record(feats, kept_pairs, generator):
        assert kept_pairs == cfg.kept_pairs
        factors[:] = complementary_factors(feats, kept_pairs, torch.Generator().manual_seed(3))
        return tuple(factors)

    monkeypatch.setattr(f"{V2}.complementary_factors", record)
    with torch.no_grad():  # the same factors, before the networks move
        recorded.loss(copy.deepcopy(model))
    expected = recorded.reference(
        unimatch_v2_step,
        reference.student,
        reference.teacher.module,
        settings=cfg,
        channel_factors=None if cfg.kept_pairs == 1 else list(factors),
    )
    losses = check_step(runner, recorded, expected, reference)
    assert 0.02 < losses["unsup.mask_ratio"] < 0.98


def test_without_batch_norm_one_forward_is_the_same_loss(build):
    """Trap 7 of the specification: the released two calls are one forward."""
    found = []
    for labeled_forward in ("alone", "strong"):
        model = build(labeled_forward=labeled_forward).model
        model.student.eval()  # normalises by running statistics, as a net without batch norm does
        recorded = make_recorded("reverse", views=2)
        recorded.batch.generator = torch.Generator().manual_seed(0)
        found.append(total(recorded.loss(model)))
    torch.testing.assert_close(*found)


def test_gradient_comes_from_the_student_alone(build):
    recorded = make_recorded("reverse", views=2)
    weak = recorded.batch.unlabeled.pixels_NCHW.requires_grad_()
    recorded.views = [view.detach().requires_grad_() for view in recorded.views]
    losses = recorded.loss(build().model)
    found = torch.autograd.grad(
        losses["unsup.loss_strong"], [weak, *recorded.views], allow_unused=True
    )
    assert [g is not None and bool(g.any()) for g in found] == [False, True, True]


def test_labels_that_are_all_ignored_and_images_that_are_all_padding(build):
    recorded = make_recorded("reverse", views=2)
    recorded.batch.labeled.labels_NHW.fill_(255)
    recorded.batch.unlabeled.valid_NHW.zero_()
    runner = build()
    losses = recorded.loss(runner.model)
    assert total(losses) == 0 and losses["unsup.loss_strong"].requires_grad
    total(losses).backward()
    assert all((gradient == 0).all() for gradient in gradients(runner.model).values())


def test_what_is_shown_of_the_labels(build):
    check_shown_labels(build().model, make_recorded("reverse", views=2))


# --- Complementary dropout ------------------------------------------------------------------------


@pytest.mark.parametrize(("pairs", "untouched"), [(1, 0), (2, 1), (3, 1), (4, 2), (8, 4)])
def test_channels_of_a_pair_add_up_to_two(pairs, untouched):
    """Known answer "complementary dropout"."""
    feats = (torch.rand(2 * pairs, 64, 3, 5), [torch.rand(2 * pairs, 7, 32)])
    maps, [tokens] = complementary_factors(feats, 0.5, torch.Generator().manual_seed(pairs))
    assert maps.shape == (2 * pairs, 64, 1, 1) and tokens.shape == (2 * pairs, 1, 32)
    for factors in (maps, tokens):
        first, second = factors.chunk(2)
        assert (first + second == 2).all()
        assert set(factors.unique().tolist()) <= {0.0, 1.0, 2.0}
        kept = (first == 1).flatten(1).all(1)
        assert kept.sum() == untouched and not (first[~kept] == 1).any()
    same = (maps[:, 0] == 1).flatten() == (tokens[..., 0] == 1).flatten()
    assert same.all(), "kept images are kept in every layer"


def test_layers_of_one_width_share_their_factors():
    """As the tapped layers of a transformer do: as maps, as tokens, and with a class token each."""
    feats = [
        (torch.rand(8, 16, 2, 3), torch.rand(8, 16)),
        (torch.rand(8, 6, 16), torch.rand(8, 16)),
    ]
    found = complementary_factors(feats, 0.5, torch.Generator().manual_seed(0))
    first = found[0][0].flatten(1)
    assert all(torch.equal(factor.flatten(1), first) for pair in found for factor in pair)
    assert all((feat * factor).shape == feat.shape for ours, theirs in zip(feats, found)
               for feat, factor in zip(ours, theirs))  # fmt: skip


def test_the_expectation_is_the_feature_itself():
    factors = complementary_factors(
        [torch.ones(4000, 8, 1, 1)], 0.5, torch.Generator().manual_seed(0)
    )
    assert factors[0].mean((0, 2, 3)).tolist() == pytest.approx([1] * 8, abs=1e-6)
    first = factors[0][:2000].flatten(1)
    assert first.mean(0).tolist() == pytest.approx([1] * 8, abs=0.1)
    dropped = (first == 0).float().mean().item(), (first == 2).float().mean().item()
    assert dropped == pytest.approx((0.25, 0.25), abs=0.02)


def test_factors_have_the_type_of_the_features_and_one_seed_is_one_draw():
    feats = [torch.ones(4, 8, 1, 1, dtype=torch.bfloat16)]
    found = [complementary_factors(feats, 0.5, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert found[0][0].dtype == torch.bfloat16 and torch.equal(found[0][0], found[1][0])


# --- Known answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(("threshold", "expected"), [(0.95, 0.1378612), (0, 1.0514447)])
def test_loss_mix_and_ignore(build, threshold, expected, monkeypatch):
    """Known answer "loss by hand": the step on given logits, twice the same strong view."""
    model = build(threshold=threshold).model
    model.supervised = lambda *_: {}
    taught = Outputs(None, [], torch.cat([WEAK_LOGITS, PASTED_LOGITS]))
    monkeypatch.setattr(f"{V2}.forward", lambda *_: taught)
    views = Outputs(None, [], torch.cat([MIXED_LOGITS] * 2))
    model._forward_student = lambda *_: (None, views)
    losses = make_case_by_hand(views=2).loss(model)
    assert losses["unsup.loss_strong"].item() == pytest.approx(expected / 2, abs=1e-6)


def test_totals(build, monkeypatch):
    """Known answer "total": Lx = 1, Ls1 = 0.4, Ls2 = 0.6."""
    monkeypatch.setattr(
        "mmsemi.models.segmentors.base.supervised_losses",
        lambda *_: {"decode.loss_ce": torch.tensor(1.0), "decode.acc_seg": torch.tensor(50.0)},
    )
    monkeypatch.setattr(
        f"{V2}.confident_cross_entropy", lambda *_, **__: torch.tensor([0.4, 0.6]).mean()
    )
    losses = make_recorded("reverse", views=2).loss(build().model)
    assert total(losses).item() == pytest.approx(0.75)


def test_the_average_follows_the_published_warm_up(build):
    """Known answer "warm-up of the average": decay min(1 - 1/(k + 1), 0.996)."""
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
    expected = {1: 0.5, 10: 5, 249: 124.5, 250: 125.002, 500: 296.526399}
    assert {step: found[step] for step in expected} == pytest.approx(expected, abs=1e-6)


@torch.no_grad()
def test_windows_of_cityscapes():
    """Known answer "windows": the last one is moved inwards, and probabilities are averaged."""
    window = dict(mode="slide", crop_size=(798, 798), stride=(532, 532), windows_per_forward=1)
    kind = "ProbabilityWindowEncoderDecoder"
    net = MODELS.build(ConfigDict(copy.deepcopy(FCN), type=kind, test_cfg=window)).eval()
    rows = torch.arange(1024)[:, None].expand(1024, 2048)
    columns = torch.arange(2048)[None].expand(1024, 2048)
    x = torch.stack([rows, columns, rows])[None].float()
    corners, counts = [], torch.zeros(1024, 2048, dtype=torch.long)

    def predict(crop, _):
        top, left = crop[0, 0, 0, 0].int().item(), crop[0, 1, 0, 0].int().item()
        assert crop.shape[-2:] == (798, 798)
        corners.append((top, left))
        counts[top : top + 798, left : left + 798] += 1
        return torch.zeros(1, 3, 798, 798)

    net.encode_decode = predict
    net.slide_inference(x, [dict(img_shape=(1024, 2048), ori_shape=(1024, 2048))])
    assert corners == [(top, left) for top in (0, 226) for left in (0, 532, 1064, 1250)]
    found = dict(zip(*(one.tolist() for one in counts.unique(return_counts=True))))
    assert found == {1: 444768, 2: 1007616, 3: 36160, 4: 562848, 6: 45760}
    assert counts.sum() == 5_094_432


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        dict(labeled_forward="weak"),
        dict(threshold=1.5),
        dict(kept_pairs=-0.1),
        dict(momentum=0),
        dict(rampup_iters=-1),
        dict(predict_on="pupil"),
        dict(labeled_forward="strong", strong_view_stats=False),
    ],
)
def test_settings_that_no_run_can_mean_are_refused(build, settings):
    name, value = list(settings.items())[-1]
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        build(**settings)
