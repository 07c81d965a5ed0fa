# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Weights and thresholds by class: typed values, and a method that trains with both."""

from __future__ import annotations

import copy

import pytest
import torch
from method_tester import MethodTester
from recorded import make_method
from step_runner import NoiseImages, draw_batches

from mmsemi.errors import CheckpointError, ConfigError
from mmsemi.models.class_balance import (
    ClassBalance,
    class_thresholds,
    class_weights,
    confidence_by_class,
)
from mmsemi.models.losses import confident_cross_entropy, is_confident, kept_share
from mmsemi.structures import PseudoLabels

PIXELS = torch.tensor([64, 16, 0])
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("power", "expected"),
    [
        (0.0, [1, 1, 1]),
        (1.0, [1 / (2 * 0.8), 1 / (2 * 0.2), 1]),  # each class half of the loss
        (0.5, [0.8**-0.5 / (0.8**0.5 + 0.2**0.5), 0.2**-0.5 / (0.8**0.5 + 0.2**0.5), 1]),
    ],
)
def test_weights_by_class(power, expected):
    weight = class_weights(PIXELS, power)
    assert weight.dtype == torch.float32
    assert weight.tolist() == pytest.approx(expected)
    assert (weight * PIXELS).sum() / PIXELS.sum() == pytest.approx(1)
    assert class_weights(torch.zeros(2, dtype=torch.long), power).tolist() == [1, 1]


LABEL = torch.tensor([[[0, 0, 1], [255, 1, 2]]])
CONFIDENCE = torch.tensor([[[1.0, 0.5, 0.25], [0.9, 0.75, 0.5]]])
VALID = torch.tensor([[[True, True, True], [True, True, False]]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_confidence_by_class(dtype):
    pseudo = PseudoLabels(LABEL, CONFIDENCE.to(dtype))
    sums, counts = confidence_by_class(pseudo, VALID, 3)
    assert sums.dtype == counts.dtype == torch.int64
    assert (sums / 2**20).tolist() == [1.5, 1.0, 0.0] and counts.tolist() == [2, 2, 0]


def test_thresholds_by_class():
    seen = torch.tensor([True, True, False])
    mean = torch.tensor([0.8, 0.4, 0.0], dtype=torch.float64)
    thresholds = class_thresholds(0.9, mean, seen)
    assert thresholds.dtype == torch.float32
    assert thresholds.tolist() == pytest.approx([0.9, 0.45, 0.9])
    nothing = class_thresholds(0.9, torch.zeros(3), torch.zeros(3, dtype=torch.bool))
    assert nothing.tolist() == pytest.approx([0.9] * 3)


def test_the_average_begins_with_the_first_mean_and_keeps_what_it_does_not_see():
    balance = ClassBalance(3, 0.0, decay=0.75)
    first = balance.thresholds(0.9, PseudoLabels(LABEL, CONFIDENCE), VALID)
    assert balance.confidence_C.tolist() == [0.75, 0.5, 0.0]
    assert first.tolist() == pytest.approx([0.9, 0.6, 0.9])
    only_one = torch.ones_like(LABEL)
    second = balance.thresholds(
        0.9, PseudoLabels(only_one, torch.full_like(CONFIDENCE, 0.9)), VALID
    )
    assert balance.confidence_C.tolist() == pytest.approx(
        [0.75, 0.75 * 0.5 + 0.25 * 0.9, 0], abs=1e-5
    )
    assert second.tolist() == pytest.approx([0.9, 0.9 * 0.6 / 0.75, 0.9], abs=1e-5)
    before = balance.state_dict()
    balance.thresholds(0.9, PseudoLabels(LABEL, CONFIDENCE), torch.zeros_like(VALID))
    assert all(torch.equal(value, before[name]) for name, value in balance.state_dict().items())


def test_labelled_pixels_are_counted_and_weighed():
    balance = ClassBalance(3, 1.0, decay=0.0)
    labels = torch.tensor([[[0, 0, 0, 0], [1, 255, 255, 0]]])
    balance.count(labels)
    assert balance.pixels_C.tolist() == [5, 1, 0]
    weights = balance.weigh(labels)
    assert weights.dtype == torch.float32
    assert weights[0, 0, 0] == pytest.approx(0.6) and weights[0, 1, 0] == pytest.approx(3)
    assert weights[0, 1, 1] == 1, "ignored"
    other = ClassBalance(3, 1.0, decay=0.0)
    other.load_state_dict(balance.state_dict(), CPU)
    assert torch.equal(other.weigh(labels), weights)
    with pytest.raises(CheckpointError, match="3 classes, the model 2"):
        ClassBalance(2, 1.0, 0.0).load_state_dict(balance.state_dict(), CPU)


def test_a_threshold_for_each_label():
    pseudo = PseudoLabels(LABEL, CONFIDENCE)
    kept = is_confident(pseudo, torch.tensor([0.6, 0.25, 0.6]))
    assert kept.tolist() == [[[True, False, True], [True, True, False]]]
    assert kept_share(pseudo, torch.tensor([0.6, 0.25, 0.6])) == pytest.approx(3 / 5)
    for threshold in (0.5, torch.full((3,), 0.5)):
        assert torch.equal(is_confident(pseudo, threshold), CONFIDENCE >= 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_but_ignored_pixels_is_a_loss_of_0_with_a_graph(dtype):
    logits = torch.randn(1, 3, 2, 3, dtype=dtype, requires_grad=True)
    pseudo = PseudoLabels(torch.full_like(LABEL, 255), CONFIDENCE)
    loss = confident_cross_entropy(logits, pseudo, torch.tensor([0.1, 0.2, 0.3]))
    assert loss == 0 and loss.dtype == torch.float32
    loss.backward()
    assert not logits.grad.any()


class TestFixMatchByClass(MethodTester):
    """Weights and thresholds by class: resuming, several processes, bf16, no wait."""

    name = "fixmatch_by_class"
    networks = ["student", "teacher"]
    predict_on = "teacher"
    unsup_losses = ("unsup.loss_strong",)
    model = dict(
        type="FixMatch",
        threshold=0.4,
        strong=dict(type="StrongPhotometric"),
        class_thresholds=True,
        class_weight_power=0.5,
    )
    test_golden_curve = None

    def test_the_state_is_carried_on(self, straight, resumed):
        ours, theirs = (runner.model.class_balance.state_dict() for runner in (straight, resumed))
        assert ours["pixels_C"].sum() > 0 and ours["is_seen_C"].any()
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
        assert not any("class_balance" in key for key in straight.model.state_dict())


def first_losses(segmentor_config, preprocessor_config, **settings) -> dict[str, torch.Tensor]:
    runner = make_method(segmentor_config, copy.deepcopy(preprocessor_config), **settings)
    torch.manual_seed(0)
    return runner.step(draw_batches(NoiseImages(), dict(labeled=2, unlabeled=4), 1)[0])


@pytest.mark.parametrize("method", ["FixMatch", "CPS", "MeanTeacher", "Supervised"])
def test_weights_change_the_supervised_loss_of_every_method(
    segmentor_config, preprocessor_config, method
):
    plain, weighted = (
        first_losses(segmentor_config, preprocessor_config, type=method, class_weight_power=power)
        for power in (0.0, 1.0)
    )
    keys = [key for key in plain if key.startswith("sup.") and "loss" in key]
    assert keys and all(plain[key] != weighted[key] for key in keys)
    others = [
        key for key in plain if "loss" in key and not key.startswith("sup.") and key != "loss"
    ]
    assert all(plain[key] == weighted[key] for key in others), "before the first step"


def test_settings_that_do_nothing_are_refused(segmentor_config, preprocessor_config):
    for settings, name in (
        (dict(type="FixMatch", class_threshold_decay=0.5), "class_threshold_decay"),
        (dict(type="CPS", class_thresholds=True), "class_thresholds"),
        (dict(type="FixMatch", class_weight_power=1.5), "class_weight_power"),
    ):
        with pytest.raises(ConfigError, match=name):
            make_method(segmentor_config, preprocessor_config, **settings)
