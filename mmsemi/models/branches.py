# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Networks that teach each other must differ: equal ones stay equal for ever."""

from __future__ import annotations

import copy
import logging

import torch
from mmengine.dist import broadcast
from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import nn

from ..errors import ConfigError


def tell_apart(first: nn.Module, second: nn.Module, config: dict | None) -> None:
    """Refuse equal networks, or give the second new heads.

    Args:
        first: A network.
        second: The other one.
        config: What the second was built from, if one checkpoint filled both; its heads are then drawn
            anew. None: it must differ by itself.

    Raises:
        ConfigError: They are equal, and not because of a checkpoint.
    """
    if not are_equal(first, second):
        return
    if config is None:
        raise ConfigError(
            "both networks of the model have the same weights, and so would teach each other nothing: "
            "start them from different weights (load_from and model.second_checkpoint of two seeds, or "
            "load_from alone, where the second gets a new head)"
        )
    redraw_heads(second, config)
    print_log(
        "one checkpoint filled both networks: the heads of the second (branch 1) are drawn anew, since "
        "equal networks teach each other nothing; model.second_checkpoint, of another seed, keeps what a head "
        "has learnt",
        "current",
        logging.WARNING,
    )


def are_equal(first: nn.Module, second: nn.Module) -> bool:
    """Whether two networks have the same parameters, bit for bit."""
    ours, theirs = dict(first.named_parameters()), dict(second.named_parameters())
    return ours.keys() == theirs.keys() and all(
        torch.equal(value, theirs[name]) for name, value in ours.items()
    )


@torch.no_grad()
def redraw_heads(net: nn.Module, config: dict) -> None:
    """Give a segmentor's decode and auxiliary heads new random weights, equal on all ranks.

    Args:
        net: The segmentor.
        config: What it was built from.
    """
    fresh = MODELS.build(copy.deepcopy(config))
    for name in ("decode_head", "auxiliary_head"):
        head = getattr(fresh, name, None)
        if head is None:
            continue
        for stage in head if isinstance(head, nn.ModuleList) else [head]:
            stage.init_weights()
        getattr(net, name).load_state_dict(head.state_dict())
        for tensor in getattr(net, name).state_dict().values():
            broadcast(tensor)
