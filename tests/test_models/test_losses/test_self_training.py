# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Weights of stored pseudo-labels: values, gradients, ties, ignored pixels, half precision."""

from __future__ import annotations

import pytest
import torch
from mmseg.models.losses import CrossEntropyLoss

from mmsemi.errors import ConfigError
from mmsemi.models.losses import (
    DynamicWeight,
    MutualWeight,
    cross_entropy,
    dynamic_weight,
    mutual_weight,
    stored_weight,
)

# docs/methods/dst_cbc.md, "Known answers": two images of 1x4 pixels, the first one pseudo-labelled.
PROBABILITIES = [
    [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]],
    [[0.25, 0.5, 0.25], [0.9, 0.05, 0.05], [0.2, 0.2, 0.6], [0.3, 0.3, 0.4]],
]
LABELS = torch.tensor([[[0, 2, 255, 0]], [[1, 0, 0, 255]]])
CONFIDENCE = torch.tensor([[[0.8, 0.9, 0.99, 0.55]]])


def make_logits() -> torch.Tensor:
    maps = torch.tensor(PROBABILITIES, dtype=torch.float64).log()
    return maps.permute(0, 2, 1)[:, :, None].contiguous().requires_grad_()


def whole(weighted, labels=LABELS):
    """Weight and label of both images; the labelled one counts fully."""
    weight = torch.cat([weighted.weight_NHW, torch.ones(1, 1, 4)])
    return torch.cat([weighted.label_NHW, labels[1:]]), weight


@pytest.mark.parametrize(
    "gamma, expected", [(0, 0.929672), (2, 0.459242), (5, 0.411889), (9, 0.403727)]
)
def test_dynamic_loss(gamma, expected):
    logits = make_logits()
    label, weight = whole(dynamic_weight(logits[:1], LABELS[:1], gamma))
    assert cross_entropy(logits, label, 255, weight).item() == pytest.approx(expected, abs=1e-6)


def test_the_weight_carries_no_gradient():
    logits = make_logits()
    label, weight = whole(dynamic_weight(logits[:1], LABELS[:1], 2))
    cross_entropy(logits, label, 255, weight).backward()
    assert not weight.requires_grad
    gradient = logits.grad[:, :, 0].permute(0, 2, 1)
    for image, pixel, expected in (
        (0, 0, (-0.0245, 0.0163333, 0.0081667)),
        (0, 1, (0.0015, 0.009, -0.0105)),
        (0, 2, (0, 0, 0)),
        (1, 0, (0.0416667, -0.0833333, 0.0416667)),
    ):
        assert gradient[image, pixel].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "gammas, expected, mean",
    [
        ((0, 0), 0.929672, None),
        ((5, 5), 0.411803, 0.528417),
        ((3, 3), 0.427132, 0.561667),
        ((5, 2), 0.429375, None),
        ((0, 5), 0.461258, None),
    ],
)
def test_mutual_loss(gammas, expected, mean):
    logits = make_logits()
    weighted = mutual_weight(logits[:1], LABELS[:1], CONFIDENCE, *gammas)
    label, weight = whole(weighted)
    assert cross_entropy(logits, label, 255, weight).item() == pytest.approx(expected, abs=1e-6)
    assert (weighted.disagrees_NHW.sum(), weighted.wins_NHW.sum()) == (2, 1)
    if mean is not None:
        assert (weight[LABELS != 255].sum() / 6).item() == pytest.approx(mean, abs=1e-6)


def test_won_pixels_can_be_kept_or_flipped():
    logits = make_logits()
    kept = mutual_weight(logits[:1], LABELS[:1], CONFIDENCE, 5, 5, drop_won=False)
    assert kept.weight_NHW[0, 0].tolist() == pytest.approx([0.7**5, 0.3**5, 0, 0.2**5], abs=1e-7)
    flipped = mutual_weight(logits[:1], LABELS[:1], CONFIDENCE, 5, 3, flip_won=True)
    assert flipped.label_NHW[0, 0].tolist() == [0, 2, 255, 2]
    assert flipped.weight_NHW[0, 0].tolist() == pytest.approx(
        [0.7**5, 0.3**3, 0, 0.45**3], abs=1e-7
    )


@pytest.mark.parametrize("confidence, expected", [(0.59, 0), (0.61, 0.0029257)])
def test_only_a_surer_network_wins(confidence, expected):
    logits = torch.tensor([0.1, 0.6, 0.3]).log()[None, :, None, None]
    weighted = mutual_weight(
        logits, torch.full((1, 1, 1), 2), torch.full((1, 1, 1), confidence), 5, 5
    )
    loss = cross_entropy(logits, torch.full((1, 1, 1), 2), 255, weighted.weight_NHW)
    assert loss.item() == pytest.approx(expected, abs=1e-7)


def test_an_equal_confidence_is_no_win():
    logits = torch.zeros(1, 2, 1, 1)  # p = .5 exactly
    label, half = torch.ones(1, 1, 1).long(), torch.full((1, 1, 1), 0.5)
    assert not mutual_weight(logits, label, half, 5, 5).wins_NHW.any()
    assert mutual_weight(logits, label, half - 1e-6, 5, 5).weight_NHW == 0


def test_stored_weight():
    weighted = stored_weight(LABELS[:1], CONFIDENCE, 2)
    assert weighted.weight_NHW[0, 0].tolist() == pytest.approx([0.64, 0.81, 0, 0.3025])


@pytest.mark.parametrize("of", [dynamic_weight, mutual_weight])
def test_ignored_labels_give_zero_with_a_graph(of):
    logits, ignored = make_logits()[:1], torch.full((1, 1, 4), 255)
    # Padding may hold any confidence.
    more = (torch.full((1, 1, 4), 255.0), 5, 5) if of is mutual_weight else (9,)
    weighted = of(logits, ignored, *more)
    assert torch.equal(weighted.weight_NHW, torch.zeros(1, 1, 4))
    loss = cross_entropy(logits, weighted.label_NHW, 255, weighted.weight_NHW)
    assert loss == 0 and loss.requires_grad


def test_half_precision_is_raised():
    logits = make_logits().detach()[:1].bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weighted = mutual_weight(logits, LABELS[:1], CONFIDENCE, 5, 5)
    again = mutual_weight(logits.float(), LABELS[:1], CONFIDENCE, 5, 5)
    assert weighted.weight_NHW.dtype == torch.float32
    assert torch.equal(weighted.weight_NHW, again.weight_NHW)


@pytest.mark.parametrize("avg_non_ignore, expected", [(True, 0.403727), (False, 0.302795)])
def test_mmseg_takes_the_weight(avg_non_ignore, expected):
    logits = make_logits()
    label, weight = whole(dynamic_weight(logits[:1], LABELS[:1], 9))
    loss = CrossEntropyLoss(avg_non_ignore=avg_non_ignore)(
        logits, label, weight=weight, ignore_index=255
    )
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_one_mean_over_both_kinds_of_images():
    """docs/methods/st_plus_plus.md: labelled 2x3 and pseudo-labelled 2x3, whose last column is a box."""
    losses = torch.tensor([[[1.2, 0.4, 0.3], [0.9, 2.0, 0.2]], [[0.5, 0.1, 3.0], [0.2, 0.7, 2.5]]])
    label = torch.zeros(2, 2, 3, dtype=torch.long)
    label[0, 0, 2] = label[1, :, 2] = 255
    likely = torch.exp(-losses)
    logits = torch.stack([likely, 1 - likely], 1).log()
    assert cross_entropy(logits, label, 255).item() == pytest.approx(0.688889, abs=1e-6)


def test_refusals():
    for build in (
        lambda: DynamicWeight(gamma=-1),
        lambda: MutualWeight(gamma1="5", gamma2=5),
        lambda: MutualWeight(gamma1=5, gamma2=5, drop_won=False, flip_won=True),
        lambda: MutualWeight(gamma1=0, gamma2=0, flip_won=True),
    ):
        with pytest.raises(ConfigError):
            build()
