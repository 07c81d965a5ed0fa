# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The count of allocations counts what lives."""

from __future__ import annotations

import pytest
import torch

from benchmarks.encoder_memory import MIB, LiveBytes, main, measure


def test_live_bytes():
    with LiveBytes() as live:
        a = torch.zeros(1000)
        b = a.view(10, 100)  # the same storage
        c = a + 1
        assert live.now == live.peak == 8000
        del a, c
        assert live.now == 4000
        del b
        assert (live.now, live.peak) == (0, 8000)


def test_a_frozen_encoder_needs_less():
    trained, frozen = (measure("tiny", 56, 1, 1, frozen) for frozen in (False, True))
    for found in (trained, frozen):
        assert found["optimiser"] == pytest.approx(2 * found["gradients"], rel=0.05)
        assert found["all"] == pytest.approx(sum(v for k, v in found.items() if k != "all"))
    for part in trained:
        assert frozen[part] < trained[part], part
    # The teacher of a frozen encoder has none of its own.
    assert frozen["weights"] * MIB < trained["weights"] * MIB - 4 * 32 * 1370


def test_the_tool(capsys):
    assert main(["--size", "tiny", "--crop", "28"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[1].startswith("trained: weights") and "step" in lines[2]
