# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What to tell a user whose machine cannot download pre-trained weights."""

from __future__ import annotations

import os.path as osp

import torch
from mmengine.runner.checkpoint import get_external_models, get_torchvision_models
from torch import nn

from .packaged_weights import SCHEME


def missing_weights_message(
    net: nn.Module, error: Exception, setting: str = "model.segmentor"
) -> str:
    """Which weight files a network asks for, and where each one must lie.

    Args:
        net: The network whose modules carry ``init_cfg``.
        error: What went wrong when the first of them was loaded.
        setting: Where a config sets the network.
    """
    names = []
    for module in net.modules():
        config = getattr(module, "init_cfg", None)
        for item in config if isinstance(config, (list, tuple)) else [config]:
            if isinstance(item, dict) and item.get("checkpoint"):
                names.append(item["checkpoint"])
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    places = "; ".join(_where_to_put(name) for name in dict.fromkeys(names))
    return (
        f"pre-trained weights could not be loaded ({reason}). {places}; or start from random "
        f"weights with --cfg-options {setting}.backbone.init_cfg=None"
    )


def _where_to_put(name: str) -> str:
    """The file behind a weight name, and the cache path that is looked at before any download."""
    if name.startswith(SCHEME):
        return f"'{name}': run mmsemi weights {name.removeprefix(SCHEME)}"
    url = name
    for scheme, known in (
        ("open-mmlab://", get_external_models),
        ("openmmlab://", get_external_models),
        ("torchvision://", get_torchvision_models),
    ):
        if name.startswith(scheme):
            url = known().get(name.removeprefix(scheme), name)
    if not str(url).startswith(("http://", "https://")):
        return f"'{name}' must be an existing file"
    target = osp.join(torch.hub.get_dir(), "checkpoints", osp.basename(url))
    return f"'{name}': fetch {url} where there is a network and put it at '{target}'"
