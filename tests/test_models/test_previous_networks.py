# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Earlier networks: which label in a step, with which weights. docs/methods/prevmatch.md."""

from __future__ import annotations

import copy
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recorded import MIXED_LOGITS, image
from torch import nn

from mmsemi.models import previous_networks
from mmsemi.models.forward import pseudo_labels
from mmsemi.models.losses import confident_cross_entropy
from mmsemi.models.previous_networks import PreviousNetworks, draw_members


@pytest.mark.parametrize(
    ("step", "held", "numbers", "weights"),
    [
        (0, 8, [5, 1, 3], [0.055700, 0.695254, 0.249045]),
        (1, 8, [3], [1]),
        (2, 8, [6, 4, 5], [0.145823, 0.410369, 0.443809]),
        (3, 8, [0, 1], [0.105644, 0.894356]),
        (1000, 8, [1, 3, 6], [0.017541, 0.402999, 0.579460]),
        (0, 2, [1, 0], [0.074173, 0.925827]),
        (1, 2, [0], [1]),
        (0, 1, [0], [1]),
    ],
)
def test_draws_are_functions_of_seed_and_step(step, held, numbers, weights):
    """Known answer "draw"."""
    found = draw_members(0, step, held, 3)
    assert found[0] == numbers and found[1] == pytest.approx(weights, abs=1e-6)
    assert found == draw_members(0, step, held, 3)
    assert found != draw_members(1, step, held, 3) or held == 1


def test_the_distribution_of_draws():
    """Of seed 0 the count 1 comes in 0.3437 of these steps."""
    counts, included, weights = Counter(), Counter(), []
    for step in range(20_000):
        numbers, shares = draw_members(0, step, 8, 3)
        assert len(set(numbers)) == len(numbers) == len(shares)
        counts[len(numbers)] += 1
        included.update(numbers)
        if len(numbers) == 3:
            weights.append(shares)
    assert {k: n / 20_000 for k, n in counts.items()} == pytest.approx(
        dict.fromkeys((1, 2, 3), 1 / 3), abs=0.011
    )
    assert {k: n / 20_000 for k, n in included.items()} == pytest.approx(
        dict.fromkeys(range(8), 0.25), abs=0.01
    )
    weights = np.array(weights)
    assert weights.var(0) == pytest.approx([1 / 18] * 3, abs=0.003)
    assert weights.mean(0) == pytest.approx([1 / 3] * 3, abs=0.01)


FIRST = image([(6, 0, 0), (0, 2, 0), (0, 0, 1)], [(4, 0, 0), (10, 0, 0), (0, 5, 0)])
SECOND = image([(3, 0, 0), (0, 6, 0), (0, 0, 5)], [(4, 0, 0), (0, 2, 0), (0, 5, 0)])


def test_logits_are_added(monkeypatch):
    """Known answer "ensemble": of logits, not of probabilities, which give another label at (1, 1)."""
    previous = PreviousNetworks(8, 3)
    previous.members = [SimpleNamespace(net=SECOND), SimpleNamespace(net=FIRST)]
    monkeypatch.setattr(previous_networks, "draw_members", lambda *_: ([1, 0], [0.25, 0.75]))
    monkeypatch.setattr(
        previous_networks, "forward", lambda net, _: SimpleNamespace(logits_NCHW=net.bfloat16())
    )
    logits = previous.logits(torch.zeros(1, 3, 2, 3), 0)
    assert logits.dtype == torch.float32
    pseudo = pseudo_labels(logits)
    assert pseudo.label_NHW.tolist() == [[[0, 1, 2], [0, 0, 1]]]
    expected = [0.955077, 0.986703, 0.964663, 0.964663, 0.689672, 0.986703]
    assert pseudo.confidence_NHW.flatten().tolist() == pytest.approx(expected, abs=1e-6)
    # The loss of equal logits of the student, pixel (1, 2) being ignored.
    pseudo.label_NHW[0, 1, 2] = 255
    for threshold, loss in ((0.9, 0.841156), (0, 0.951445)):
        found = confident_cross_entropy(MIXED_LOGITS, pseudo, threshold)
        assert found.item() == pytest.approx(loss, abs=1e-6)


def test_copies_are_frozen_and_the_oldest_goes():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).train()
    previous, kept = PreviousNetworks(2, 2), []
    for iteration in range(3):
        nn.init.constant_(net[0].bias, float(iteration))
        previous.add(net, iteration)
        kept.append(copy.deepcopy(net.state_dict()))
    net(torch.randn(2, 3, 4, 4)).sum().backward()
    torch.optim.SGD(net.parameters(), lr=1).step()
    assert [member.iteration for member in previous.members] == [1, 2]
    for member, state in zip(previous.members, kept[1:]):
        assert not any(module.training for module in member.net.modules())
        assert not any(p.requires_grad or p.grad is not None for p in member.net.parameters())
        for name, value in member.net.state_dict().items():
            assert torch.equal(value, state[name]), name


def test_a_backbone_that_never_changes_is_not_copied():
    net = nn.Module()
    net.backbone, net.head = nn.Linear(1, 1), nn.Linear(1, 1)
    previous = PreviousNetworks(2, 1)
    previous.add(net, 0, keep_backbone=True)
    own = previous.members[0].net
    assert own.backbone is net.backbone and own.head is not net.head
    previous.add(net, 1)
    assert previous.members[1].net.backbone is not net.backbone


def bias_on_rank(value: float) -> tuple[float, float]:
    net = nn.BatchNorm2d(1)
    net.running_mean.fill_(value + torch.distributed.get_rank())
    previous = PreviousNetworks(1, 1)
    previous.add(net, 0)
    return previous.members[0].net.running_mean.item(), net.running_mean.item()


def test_all_processes_keep_the_statistics_of_the_main_one(gloo_pool):
    assert gloo_pool.run(bias_on_rank, 3.0) == [(3.0, 3.0), (3.0, 4.0)]
