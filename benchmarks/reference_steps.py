# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The reference step of a method on the batch, the settings and the draws of the method's own step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from reference.advsemiseg import advsemiseg_step
from reference.augseg import Exchange, augseg_step
from reference.blocks import Recipe
from reference.cac import Crops, cac_step
from reference.cps import cps_step
from reference.cutmix_mean_teacher import cutmix_mean_teacher_step
from reference.fixmatch import fixmatch_step
from reference.mean_teacher import mean_teacher_step
from reference.mlmt import mlmt_step
from reference.prevmatch import Previous, prevfixmatch_step, prevmatch_step
from reference.s4gan import s4gan_step
from reference.self_training import self_training_step
from reference.supervised import supervised_step
from reference.u2pl import Draws as Uniforms
from reference.u2pl import Ring, u2pl_step
from reference.unimatch import unimatch_step
from reference.unimatch_v2 import unimatch_v2_step
from torch import Tensor, nn

from mmsemi.models.losses import rise_and_fall
from mmsemi.models.previous_networks import draw_members
from mmsemi.structures import PSEUDO, SECOND_CROP, SemiBatch

from .draws import Draws

Losses = dict[str, Tensor]


# --- The reference step of each method ------------------------------------------------------------


def _settings(step: Callable, method: nn.Module, **changes: Any) -> dict[str, Any]:
    """Those settings of a method that its reference step takes, by the same names."""
    parameters = inspect.signature(step).parameters.values()
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    cfg = method.settings
    values = {name: getattr(cfg, name) for name in names if hasattr(cfg, name)}
    if hasattr(cfg, "rampup_iters"):
        values["unsup_weight"] = cfg.unsup_weight * method.rampup()
    return {**values, **changes}


def _labeled(batch: SemiBatch) -> tuple[Tensor, Tensor]:
    return batch.labeled.pixels_NCHW, batch.labeled.labels_NHW


def _weak(batch: SemiBatch) -> tuple[Tensor, Tensor]:
    return batch.unlabeled.pixels_NCHW, batch.unlabeled.valid_NHW


def _recipes(draws: Draws) -> list[Recipe] | list[None]:
    return draws.recipes or [None] * len(draws.views)


def _supervised(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    return supervised_step(method.student, *_labeled(batch))


def _cps(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    (view,), (recipe,), (weak, valid) = draws.views, _recipes(draws), _weak(batch)
    settings = _settings(cps_step, method)
    return cps_step(method.branches, *_labeled(batch), weak, view, recipe, valid, **settings)


def _mean_teacher(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    cfg, teacher = method.settings, method.teacher
    is_french = all(
        (
            draws.recipes,
            cfg.consistency == "squared_distance",
            cfg.confidence_threshold is not None,
            not cfg.consistency_on_labeled,
            cfg.ema_when == "after",
        )
    )
    step = cutmix_mean_teacher_step if is_french else mean_teacher_step
    changes = {} if is_french else dict(ema_when="mid" if teacher.is_due else "after")
    (view,), (recipe,), (weak, valid) = draws.views, _recipes(draws), _weak(batch)
    given = (method.student, teacher.module, *_labeled(batch), weak, view, recipe, valid)
    return step(*given, **_settings(step, method, **changes))


def _fixmatch(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    teacher, (weak, valid) = method.teacher and method.teacher.module, _weak(batch)
    given = (method.student, teacher, *_labeled(batch), weak, draws.views, _recipes(draws), valid)
    return fixmatch_step(*given, **_settings(fixmatch_step, method))


def _augseg(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    (view,), (recipe,), (weak, valid) = draws.views, _recipes(draws), _weak(batch)
    exchange = None
    if recipe is not None:
        (mix, partner), (shown, _) = recipe.pastes
        labeled = torch.zeros_like(shown)
        labeled[partner] = shown  # what the second box shows of the first one; it was decided
        exchange = Exchange(partner, labeled, mix, weak.new_full((len(weak),), 2.0))
    given = (method.student, method.teacher.module, *_labeled(batch), weak, view, exchange, valid)
    return augseg_step(*given, **_settings(augseg_step, method))


def _unimatch(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    weak, valid = _weak(batch)
    given = (method.student, *_labeled(batch), weak, draws.views, _recipes(draws), valid)
    settings = _settings(unimatch_step, method)
    return unimatch_step(*given, draws.channel_factors, **settings)


def _unimatch_v2(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    teacher, (weak, valid) = method.teacher.module, _weak(batch)
    given = (method.student, teacher, *_labeled(batch), weak, draws.views, _recipes(draws), valid)
    settings = _settings(unimatch_v2_step, method)
    return unimatch_v2_step(*given, draws.channel_factors or None, **settings)


def _previous(method: nn.Module) -> tuple[Previous, float]:
    """Weights and networks of those that are drawn, and the weight of their loss."""
    own, now = method.previous, method.iteration()
    drawn = draw_members(own.seed, now, len(own), own.max_drawn) if own else ([], [])
    networks = [(weight, own.members[number].net) for number, weight in zip(*drawn)]
    return networks, rise_and_fall(now, own.length, method.settings.previous_curve)


def _prevmatch(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    weak, valid = _weak(batch)
    given = (method.student, *_labeled(batch), weak, draws.views, _recipes(draws), valid)
    settings = _settings(prevmatch_step, method)
    return prevmatch_step(*given, draws.channel_factors, *_previous(method), **settings)


def _prevfixmatch(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    teacher, (weak, valid) = method.teacher and method.teacher.module, _weak(batch)
    given = (method.student, teacher, *_labeled(batch), weak, draws.views, _recipes(draws), valid)
    return prevfixmatch_step(*given, *_previous(method), **_settings(prevfixmatch_step, method))


def _cac(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    if method.iteration() < method.settings.start_iter:
        return supervised_step(method.student, *_labeled(batch))
    pairs = [sample.crop_pair for sample in batch.unlabeled.samples]
    sources = batch.unlabeled, batch.sources[SECOND_CROP]
    crops = [
        Crops(view, [pair.flips[i] for pair in pairs], [pair[i] for pair in pairs], one.valid_NHW)
        for i, (view, one) in enumerate(zip(draws.views, sources))
    ]
    bank = list(method.memory_bank.steps)
    networks, settings = (method.student, method.projector), _settings(cac_step, method)
    losses = cac_step(*networks, *_labeled(batch), crops, bank, **settings)
    method.memory_bank.steps.extend(bank)
    return losses


def _u2pl(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    cfg, teacher, (weak, valid) = method.settings, method.teacher, _weak(batch)
    if method.iteration() < cfg.warmup_iters:
        return supervised_step(method.student, *_labeled(batch))
    if not draws.rings:
        draws.rings = [Ring(size) for size in method.memory_bank.sizes]
    (view,), (recipe,) = draws.views, _recipes(draws)
    networks = (method.student, method.representation, teacher.module, teacher.head)
    further = (Uniforms(*draws.uniforms), draws.rings, method.percent())
    given = (*networks, *_labeled(batch), weak, view, recipe, valid, *further)
    return u2pl_step(*given, **_settings(u2pl_step, method))


def _self_training(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    confidence = None
    if method.weight is not None and method.weight.needs_confidence:
        stored = [sample.gt_confidence.data[0] for sample in batch.sources[PSEUDO].samples]
        confidence = torch.stack(stored)
    given = (method.student, *_labeled(batch), *draws.pseudo, confidence)
    return self_training_step(*given, method.settings.weight)


def _advsemiseg(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    view, valid = (None, None) if batch.unlabeled is None else (*draws.views, _weak(batch)[1])
    real, now = batch.sources.get("gt", batch.labeled), method.iteration()
    settings = _settings(advsemiseg_step, method)
    settings["unsup_weight"] *= now >= method.settings.unsup_start
    settings["unsup_adv_weight"] *= now >= method.settings.unsup_adv_start
    networks = (method.student, method.discriminator)
    return advsemiseg_step(*networks, *_labeled(batch), view, valid, real.labels_NHW, **settings)


def _s4gan(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    (view,), (_, valid) = draws.views, _weak(batch)
    real = batch.sources.get("gt", batch.labeled)
    settings = _settings(s4gan_step, method)
    settings["unsup_weight"] *= method.iteration() >= method.settings.unsup_start
    networks = (method.student, method.discriminator)
    reals = (real.pixels_NCHW, real.labels_NHW)
    return s4gan_step(*networks, *_labeled(batch), view, valid, *reals, **settings)


def _mlmt(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    x = batch.labeled.pixels_NCHW
    targets = x.new_zeros(len(x), method.num_classes)
    for row, sample in zip(targets, batch.labeled.samples):
        row[list(sample.metainfo["image_labels"])] = 1
    weak, view = (None, None) if batch.unlabeled is None else (_weak(batch)[0], *draws.views)
    networks, weight = (method.student, method.teacher.module), method.consistency_weight()
    return mlmt_step(*networks, x, targets, weak, view, consistency_weight=weight)


STEPS: dict[str, Callable[[nn.Module, Any, Draws], Losses]] = dict(
    Supervised=_supervised,
    CPS=_cps,
    MeanTeacher=_mean_teacher,
    CutMixMeanTeacher=_mean_teacher,
    FixMatch=_fixmatch,
    UniMatch=_unimatch,
    UniMatchV2=_unimatch_v2,
    PrevMatch=_prevmatch,
    PrevFixMatch=_prevfixmatch,
    AugSeg=_augseg,
    CAC=_cac,
    U2PL=_u2pl,
    SelfTraining=_self_training,
    AdvSemiSeg=_advsemiseg,
    S4GAN=_s4gan,
    MLMTClassifier=_mlmt,
)


def reference_step(method: nn.Module, batch: SemiBatch, draws: Draws) -> Losses:
    """The losses of a method's reference step; the networks are the method's own.

    Args:
        method: In train mode.
        batch: What the method's own step was given.
        draws: What that drew.
    """
    return STEPS[type(method).__name__](method, batch, draws)


def members(wrapper: OptimWrapper | OptimWrapperDict) -> list[OptimWrapper]:
    """The wrappers of single optimisers."""
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def why_no_reference(method: nn.Module, wrapper: OptimWrapper | OptimWrapperDict) -> str | None:
    """Why a method with its settings has no reference step, in one line; None if it has one."""
    name, mix = type(method).__name__, getattr(method, "mix", None)
    if name not in STEPS:
        return f"no reference step for {name}, step times only (known: {', '.join(STEPS)})"
    heads = [getattr(net, "decode_head", None) for net in method.networks()]
    weight = getattr(method, "weight", None)
    for is_so, what in (
        (
            mix is not None and mix.pastes_labels != (name == "AugSeg"),
            f"{type(mix).__name__}, which pastes {'no ' * (name == 'AugSeg')}labels",
        ),
        (any(isinstance(head, nn.ModuleList) for head in heads), "a cascade of decode heads"),
        (getattr(method.settings, "selected_num", None) is not None, "selected_num"),
        (getattr(method.settings, "released_contrast", False), "released_contrast"),
        (getattr(weight, "flip_won", False), "flip_won"),
        (not getattr(weight, "drop_won", True), "drop_won=False"),
        (any(getattr(head, "out_channels", 2) == 1 for head in heads), "one output channel"),
        (
            any(
                type(one) is not OptimWrapper
                or one._accumulative_counts != 1
                or one.clip_grad_kwargs
                for one in members(wrapper)
            ),
            "another optim_wrapper than type='OptimWrapper' without accumulation and clipping",
        ),
    ):
        if is_so:
            return f"no reference step with {what}, step times only"
    return None


def plain_optimizers(wrapper: OptimWrapper | OptimWrapperDict) -> list[torch.optim.Optimizer]:
    """The wrapper's optimisers with as few parameter groups as their settings allow.

    mmengine makes a group of every parameter; a plain loop has one for each set of settings.
    """
    optimizers = []
    for one in members(wrapper):
        groups: dict[str, dict] = {}
        for group in one.param_groups:
            settings = {key: value for key, value in group.items() if key != "params"}
            same = groups.setdefault(repr(sorted(settings.items())), dict(settings, params=[]))
            same["params"] += group["params"]
        optimizers.append(type(one.optimizer)(list(groups.values())))
    return optimizers
