# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Which statistics batch norms use and change; docs/batch_norm.md says when that matters.

Ioffe, Szegedy, *Batch Normalization*, ICML 2015, https://arxiv.org/abs/1502.03167.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """The batch norms of a network or a part of one, those of timm and synchronised ones included."""
    return [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]


def follows_batch(norm: _BatchNorm) -> bool:
    """Whether a batch norm in its present mode normalises by the batch and would in eval mode not."""
    return norm.training and norm.running_mean is not None


def keep_running_statistics(backbone: nn.Module) -> None:
    """Keep a backbone's batch norms in eval mode, whatever mode the backbone is put into.

    They normalise by their running statistics and never change them; scale and shift are trained.
    """
    # Before each forward, not in `train`: nothing that sets modes or replaces norms (SyncBN) undoes
    # it, and a copy of the backbone keeps the hook.
    backbone.register_forward_pre_hook(_norms_to_eval)


def _norms_to_eval(backbone: nn.Module, _: Any) -> None:
    for norm in batch_norms(backbone):
        norm.eval()


@contextmanager
def untracked(net: nn.Module) -> Iterator[None]:
    """Batch norms in train mode forget the statistics of what passes them in here.

    They normalise by the batch as ever; running statistics and counters stay as they are.
    """
    norms = [norm for norm in batch_norms(net) if norm.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@contextmanager
def by_batch_statistics(norms: list[_BatchNorm]) -> Iterator[None]:
    """Some batch norms of a network in eval mode normalise by the batch for a while, and keep nothing."""
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm in norms:
            norm.training, norm.track_running_stats = False, True
