# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The floor of a step: what a method's mathematics needs, in plain torch calls.

Written as a user would without any framework: networks are called, logits resized, losses taken,
nothing is logged. One function a method; a method without one has no floor, and is told so.
Independent of ``mmsemi.models.segmentors.network``, whose time it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

Floor = Callable[[nn.Module, dict, dict], Tensor]


def _upsample(logits: Tensor, size_hw: tuple[int, int], head: nn.Module) -> Tensor:
    return F.interpolate(logits, size_hw, mode="bilinear", align_corners=head.align_corners)


def _loss(head: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
    modules = head.loss_decode
    total = 0
    for module in modules if isinstance(modules, nn.ModuleList) else [modules]:
        if type(module).__name__ == "PixelCrossEntropy":
            loss = F.cross_entropy(logits, labels, ignore_index=head.ignore_index)
            total = total + module.loss_weight * loss
        else:
            total = total + module(logits, labels, ignore_index=head.ignore_index)
    return total


def _forward(net: nn.Module, x: Tensor) -> tuple[Any, Tensor]:
    """Features, and logits of the input's size."""
    feats = net.backbone(x)
    if getattr(net, "neck", None) is not None:
        feats = net.neck(feats)
    return feats, _upsample(net.decode_head(feats), x.shape[-2:], net.decode_head)


def _supervised(net: nn.Module, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of one network on labelled images, auxiliary heads included, and its logits."""
    feats, logits = _forward(net, x)
    loss = _loss(net.decode_head, logits, labels)
    auxiliary = getattr(net, "auxiliary_head", None) or []
    for head in auxiliary if isinstance(auxiliary, nn.ModuleList) else [auxiliary]:
        if isinstance(head, nn.Module):
            loss = loss + _loss(head, _upsample(head(feats), x.shape[-2:], head), labels)
    return loss, logits


def _hard(logits: Tensor) -> Tensor:
    return logits.detach().max(1).indices  # argmax, but faster on the CPU


def _labels(samples: dict) -> Tensor:
    return torch.cat([sample.gt_sem_seg.data for sample in samples["sup"]])


def supervised_floor(model: nn.Module, inputs: dict, samples: dict) -> Tensor:
    """One forward and the loss of the labelled images."""
    return _supervised(model.student, inputs["sup"], _labels(samples))[0]


def cps_floor(model: nn.Module, inputs: dict, samples: dict) -> Tensor:
    """CPS, and with a mixed view CPS+CutMix: cps.md section 2."""
    labels = _labels(samples)
    weight = model.semi_train_cfg["unsup_weight"] * model.rampup()
    recipe = inputs["mix"]
    total, logits, targets = 0, [], []
    if recipe is not None:
        with torch.no_grad():
            for net in model.branches:
                halves = inputs["unsup_teacher"].split(len(recipe.first))
                hard = torch.cat([_hard(_forward(net, half)[1]) for half in halves])
                mask = recipe.mask_B1HW[:, 0]
                targets.append(torch.where(mask, hard[recipe.second], hard[recipe.first]))
    for net in model.branches:
        if recipe is not None:
            logits.append(_forward(net, inputs["unsup_student"])[1])
        loss, labeled = _supervised(net, inputs["sup"], labels)
        total = total + loss
        if recipe is None:
            logits.append(torch.cat([labeled, _forward(net, inputs["unsup_student"])[1]]))
    targets = targets or [_hard(one) for one in logits]
    cross = F.cross_entropy(logits[0], targets[1]) + F.cross_entropy(logits[1], targets[0])
    return total + weight * cross


FLOORS: dict[str, Floor] = dict(Supervised=supervised_floor, CPS=cps_floor)


def find_floor(model: nn.Module, wrapper: OptimWrapper) -> tuple[Floor | None, str | None]:
    """The floor of a model, or None and the reason in one line."""
    name = type(model).__name__
    if name not in FLOORS:
        return None, f"no floor is known for {name}, step times only (known: {', '.join(FLOORS)})"
    changed = [key for key in ("joint_forward", "ignore_padding") if model.semi_train_cfg.get(key)]
    if changed:
        return None, f"no floor is known for {name} with {changed[0]}=True, step times only"
    if any(isinstance(net.decode_head, nn.ModuleList) for net in model.networks()):
        return None, "no floor is known for a cascade of decode heads, step times only"
    if (
        type(wrapper) is not OptimWrapper
        or wrapper._accumulative_counts != 1
        or wrapper.clip_grad_kwargs
    ):
        return None, (
            "a floor is known for optim_wrapper.type='OptimWrapper' without accumulation and "
            "clipping only, step times only"
        )
    return FLOORS[name], None


def plain_optimizer(wrapper: OptimWrapper) -> torch.optim.Optimizer:
    """The wrapper's optimiser with as few parameter groups as its settings allow.

    mmengine makes a group of every parameter; a plain loop has one for each set of settings.
    """
    groups: dict[str, dict] = {}
    for group in wrapper.param_groups:
        settings = {key: value for key, value in group.items() if key != "params"}
        own = groups.setdefault(repr(sorted(settings.items())), dict(settings, params=[]))
        own["params"] += group["params"]
    return type(wrapper.optimizer)(list(groups.values()))
