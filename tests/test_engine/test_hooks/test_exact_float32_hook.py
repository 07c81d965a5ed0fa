# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""TF32 is off in a training with the hook, and mixed precision is refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from mmsemi.engine.hooks import ExactFloat32Hook
from mmsemi.errors import ConfigError


@pytest.fixture
def tf32():
    """The switches of TF32, on; as before afterwards. They are no plain attributes for monkeypatch."""
    parts = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [part.allow_tf32 for part in parts]
    for part in parts:
        part.allow_tf32 = True
    yield
    for part, value in zip(parts, before):
        part.allow_tf32 = value


def test_tf32_is_off(tf32):
    runner = SimpleNamespace(optim_wrapper=object.__new__(OptimWrapper))
    ExactFloat32Hook().before_run(runner)
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_mixed_precision_is_refused():
    runner = SimpleNamespace(optim_wrapper=object.__new__(AmpOptimWrapper))
    with pytest.raises(ConfigError, match="AmpOptimWrapper"):
        ExactFloat32Hook().before_run(runner)
