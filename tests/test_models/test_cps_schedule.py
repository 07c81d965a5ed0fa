# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Learning rate of the CPS experiments on the stock engine.

Known answer docs/methods/cps.md#learning-rate-and-gradient-scale. The gradient scale needs two
processes: ``tests/test_distributed/test_ranks.py``.
"""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import PolyLR
from torch import nn


def learning_rates(end: int, steps: int) -> list[float]:
    """Learning rate seen by steps 0 .. steps-1 under mmengine's PolyLR."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.0025)
    schedule = PolyLR(optimizer, power=0.9, eta_min=0.0, begin=0, end=end, by_epoch=False)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_poly_with_end_one_later_is_the_reference():
    total = 39_338
    rates = learning_rates(end=total + 1, steps=total)
    assert rates[0] == 0.0025
    assert rates[1] == pytest.approx(0.00249994, abs=5e-9)
    assert rates[19_669] == pytest.approx(0.00133972, abs=5e-9)
    for t in (1, 10_000, 19_669, total - 1):
        assert rates[t] == pytest.approx(0.0025 * (1 - t / total) ** 0.9, rel=1e-6)
    assert rates[-1] > 0


def test_poly_with_the_iteration_count_ends_at_zero():
    """A trap: end=T leaves nothing to the last step."""
    assert learning_rates(end=100, steps=100)[-1] == pytest.approx(0, abs=1e-12)
    assert learning_rates(end=101, steps=100)[-1] == pytest.approx(0.0025 * 0.01**0.9, rel=1e-6)
