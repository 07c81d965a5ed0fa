# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The floor of a step: what a method's mathematics needs, in plain torch calls.

Written as a user would without any framework: networks are called, logits resized, losses taken,
nothing is logged. One function a method; a method without one has no floor, and is told so.
Independent of ``mmsemi.models.segmentors.network``, whose time it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper, OptimWrapperDict
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


def _sup_loss(net: nn.Module, feats: Any, logits: Tensor, labels: Tensor) -> Tensor:
    """Loss of one network on the labelled images, which come first, auxiliary heads included."""
    count, size_hw = len(labels), labels.shape[-2:]
    loss = _loss(net.decode_head, logits[:count], labels)
    auxiliary = getattr(net, "auxiliary_head", None) or []
    for head in auxiliary if isinstance(auxiliary, nn.ModuleList) else [auxiliary]:
        if isinstance(head, nn.Module):
            own = head([feat[:count] for feat in feats])
            loss = loss + _loss(head, _upsample(own, size_hw, head), labels)
    return loss


def _supervised(net: nn.Module, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of one network on labelled images, and its logits."""
    feats, logits = _forward(net, x)
    return _sup_loss(net, feats, logits, labels), logits


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


def mean_teacher_floor(model: nn.Module, inputs: dict, samples: dict) -> Tensor:
    """Mean teacher and its CutMix form: mean_teacher.md section 2."""
    cfg, labels, recipe = model.semi_train_cfg, _labels(samples), inputs["mix"]
    total, labeled = _supervised(model.student, inputs["sup"], labels)
    weak = inputs["unsup_teacher"]
    with torch.no_grad():
        on_labeled = cfg["consistency_on_labeled"]
        first = [_forward(model.teacher, inputs["sup"])[1]] if on_labeled else []
        streams = [weak] if recipe is None else weak.split(len(recipe.first))
        target = torch.cat([_forward(model.teacher, stream)[1] for stream in streams])
        if recipe is not None:
            target = torch.where(recipe.mask_B1HW, target[recipe.second], target[recipe.first])
        target = torch.cat([*first, target]).softmax(1)
    logits = _forward(model.student, inputs["unsup_student"])[1]
    student = (torch.cat([labeled, logits]) if on_labeled else logits).softmax(1)
    distance = (student - target).square()
    loss = distance.mean() if cfg["consistency"] == "mse" else distance.sum(1)
    if cfg["ignore_padding"]:
        valid = inputs["valid"][:, None]
        valid = torch.where(recipe.mask_B1HW, valid[recipe.second], valid[recipe.first])[:, 0]
        loss = loss * valid
    if cfg["confidence_threshold"] is not None:
        loss = loss * (target.amax(1) >= cfg["confidence_threshold"]).float().mean()
    return total + cfg["unsup_weight"] * model.rampup() * loss.mean()


def _strong_terms(
    model: nn.Module, inputs: dict, strong: Tensor, belief: Sequence, partner: Sequence
) -> Tensor:
    """Mean over the student views of FixMatch's loss; beliefs are (confidence, label) maps."""
    cfg, recipe, views = model.semi_train_cfg, inputs["mix"], model.num_views
    mask, first, second = recipe.mask_B1HW[:, 0], recipe.first, recipe.second
    confidence, label = (torch.where(mask, b[second], a[first]) for a, b in zip(belief, partner))
    valid = inputs["valid"]
    label[~torch.where(mask, valid[second], valid[first])] = 255
    keep = confidence >= cfg["threshold"]
    total = 0
    parts = zip(*(part.chunk(views) for part in (strong, label, keep)))
    for logits, target, kept in parts:
        pixels = F.cross_entropy(logits, target, ignore_index=255, reduction="none")
        total = total + (pixels * kept).sum() / (target != 255).sum()
    return total / views


def _partner_belief(model: nn.Module, inputs: dict, own: int) -> tuple[Tensor, Tensor]:
    weak = inputs["unsup_teacher"]
    model.student.eval()
    with torch.no_grad():
        partners = weak if own == len(weak) else weak[own:]
        belief = _forward(model.student, partners)[1].softmax(1).max(1)
    model.student.train()
    return belief


def fixmatch_floor(model: nn.Module, inputs: dict, samples: dict) -> Tensor:
    """FixMatch, labels from student or teacher: unimatch.md sections 4 and 5."""
    cfg, labels, x = model.semi_train_cfg, _labels(samples), inputs["sup"]
    weak, student_x = inputs["unsup_teacher"], inputs["unsup_student"]
    own = len(student_x) // model.num_views
    partner = None if model.has_teacher else _partner_belief(model, inputs, own)
    extra = dict(alone=None, strong=student_x, weak=weak[:own])[cfg["labeled_forward"]]
    if extra is None:
        sup, _ = _supervised(model.student, x, labels)
        strong = _forward(model.student, student_x)[1]
    else:
        feats, logits = _forward(model.student, torch.cat([x, extra]))
        sup = _sup_loss(model.student, feats, logits, labels)
        other = logits[len(x) :]
        is_strong = cfg["labeled_forward"] == "strong"
        strong = other if is_strong else _forward(model.student, student_x)[1]
    with torch.no_grad():
        if model.has_teacher:
            belief = _forward(model.teacher, weak)[1].softmax(1).max(1)
        elif cfg["labeled_forward"] == "weak":
            belief = other.softmax(1).max(1)
        else:
            belief = _forward(model.student, weak[:own])[1].softmax(1).max(1)
    if partner is not None and own < len(weak):
        belief = [torch.cat(pair) for pair in zip(belief, partner)]
        partner = belief
    unsup = _strong_terms(model, inputs, strong, belief, partner or belief)
    return cfg["sup_weight"] * sup + cfg["unsup_weight"] * model.rampup() * unsup


def unimatch_floor(model: nn.Module, inputs: dict, samples: dict) -> Tensor:
    """UniMatch V1 with the cheap decoder passes: unimatch.md section 4."""
    cfg, labels, x, net = model.semi_train_cfg, _labels(samples), inputs["sup"], model.student
    weak, size_hw, head = inputs["unsup_teacher"], x.shape[-2:], model.student.decode_head
    own = len(inputs["unsup_student"]) // model.num_views
    partner = _partner_belief(model, inputs, own)
    alone = cfg["labeled_forward"] == "alone"
    sup = _supervised(net, x, labels)[0] if alone else None
    shared = x[:0] if alone else x
    feats = net.backbone(torch.cat([shared, weak[:own]]))
    both = []
    for feat in feats:
        dropped = F.dropout2d(feat[len(shared) :], cfg["feature_dropout"])
        both.append(torch.cat([feat[: len(shared)], dropped]))
    logits = _upsample(head(both), size_hw, head)
    if not alone:
        sup = _sup_loss(net, feats, logits, labels)
    with torch.no_grad():
        own_feats = [feat[len(shared) :] for feat in feats]
        belief = _upsample(head(own_feats), size_hw, head).softmax(1).max(1)
    perturbed = F.cross_entropy(logits[len(shared) :], belief[1], reduction="none")
    feature = (perturbed * (belief[0] >= cfg["threshold"])).mean()
    strong = _forward(net, inputs["unsup_student"])[1]
    if own < len(weak):
        belief = [torch.cat(pair) for pair in zip(belief, partner)]
        partner = belief
    unsup = (1 - cfg["feature_weight"]) * _strong_terms(model, inputs, strong, belief, partner)
    unsup = unsup + cfg["feature_weight"] * feature
    return cfg["sup_weight"] * sup + cfg["unsup_weight"] * model.rampup() * unsup


def _gan_loss(logits: Tensor, real: bool, valid: Tensor | None = None) -> Tensor:
    loss = F.softplus(-logits if real else logits)
    return loss.mean() if valid is None else (loss * valid).sum() / valid.sum().clamp(min=1)


def _one_hot(model: nn.Module, samples: dict) -> tuple[Tensor, Tensor]:
    """Maps of the ground truth that the discriminator sees, and their labels."""
    real = samples.get("gt") or samples["sup"]
    labels = torch.cat([sample.gt_sem_seg.data for sample in real])
    maps = torch.zeros(len(labels), model.num_classes, *labels.shape[1:])
    valid = (labels != 255)[:, None]
    return maps.to(labels.device).scatter_(1, labels[:, None] * valid, valid.float()), labels


def advsemiseg_floor(model: nn.Module, inputs: dict, samples: dict) -> Tensor:
    """AdvSemiSeg: adversarial.md section 2, with the discriminator frozen for the student."""
    cfg, labels, net = model.semi_train_cfg, _labels(samples), model.discriminator
    iteration = model.iteration()

    def judge(maps: Tensor) -> Tensor:
        return F.interpolate(
            net(maps), maps.shape[-2:], mode="bilinear", align_corners=True
        ).squeeze(1)

    net.requires_grad_(False)
    total, fakes, counted = 0, [], []
    if "unsup_student" in inputs:
        logits = _forward(model.student, inputs["unsup_student"])[1]
        maps, valid = logits.softmax(1), inputs["valid"]
        verdict = judge(maps)
        target = _hard(logits)
        target[(verdict.detach().sigmoid() < cfg["threshold"]) | ~valid] = 255
        pixels = F.cross_entropy(logits, target, ignore_index=255, reduction="sum")
        trusted = pixels / (target != 255).sum().clamp(min=1)
        total = cfg["unsup_weight"] * (iteration >= cfg["unsup_start"]) * trusted
        weight = cfg["unsup_adv_weight"] * (iteration >= cfg["unsup_adv_start"])
        total = total + weight * _gan_loss(verdict, True, valid)
        if cfg["judge_unlabeled"]:
            fakes, counted = [maps.detach()], [valid]
    supervised, logits = _supervised(model.student, inputs["sup"], labels)
    maps, valid = logits.softmax(1), labels != 255
    total = total + supervised + cfg["adv_weight"] * _gan_loss(judge(maps), True, valid)
    net.requires_grad_(True)
    fake = judge(torch.cat([*fakes, maps.detach()]))
    one_hot, real_labels = _one_hot(model, samples)
    on_fakes = _gan_loss(fake, False, torch.cat([*counted, valid]))
    return total + (on_fakes + _gan_loss(judge(one_hot), True, real_labels != 255)) / 2


def s4gan_floor(model: nn.Module, inputs: dict, samples: dict) -> Tensor:
    """s4GAN: s4gan_mlmt.md section 2a, four passes of the discriminator."""
    cfg, net, images = model.semi_train_cfg, model.discriminator, inputs["unsup_student"]

    def with_image(maps: Tensor, x: Tensor) -> Tensor:
        return torch.cat([maps, (x - x.min()) / (x.max() - x.min())], 1)

    total = _supervised(model.student, inputs["sup"], _labels(samples))[0]
    logits = _forward(model.student, images)[1]
    fake = with_image(logits.softmax(1), images)
    net.requires_grad_(False)
    score, feature = net(fake)
    target = _hard(logits)
    target[(score.detach().sigmoid() <= cfg["threshold"])[:, :, None] | ~inputs["valid"]] = 255
    pixels = F.cross_entropy(logits, target, ignore_index=255, reduction="sum")
    own = pixels / (target != 255).sum().clamp(min=1)
    real = with_image(_one_hot(model, samples)[0], inputs["gt" if "gt" in inputs else "sup"])
    with torch.no_grad():
        real_feature = net(real)[1]
    matching = (real_feature.mean(0) - feature.mean(0)).abs().mean()
    total = total + cfg["matching_weight"] * matching
    total = total + cfg["unsup_weight"] * (model.iteration() >= cfg["unsup_start"]) * own
    net.requires_grad_(True)
    on_fakes, on_reals = net(fake.detach())[0], net(real)[0]
    return total + (_gan_loss(on_fakes, False) + _gan_loss(on_reals, True)) / 2


FLOORS: dict[str, Floor] = dict(
    Supervised=supervised_floor,
    CPS=cps_floor,
    MeanTeacher=mean_teacher_floor,
    CutMixMeanTeacher=mean_teacher_floor,
    FixMatch=fixmatch_floor,
    UniMatch=unimatch_floor,
    AdvSemiSeg=advsemiseg_floor,
    S4GAN=s4gan_floor,
)

# Settings with which a floor computes what the method does; others are left without a floor.
_KNOWN_SETTINGS: dict[str, dict[str, tuple]] = dict(
    CPS=dict(joint_forward=(False,), ignore_padding=(False,)),
    MeanTeacher=dict(consistency=("mse",), ignore_padding=(False,), confidence_mode=("mean",)),
    CutMixMeanTeacher=dict(
        consistency=("squared_distance",),
        consistency_on_labeled=(False,),
        confidence_mode=("mean",),
    ),
    FixMatch=dict(partner_mode=("eval",)),
    UniMatch=dict(partner_mode=("eval",), joint_decoder=(False,)),
    AdvSemiSeg=dict(ignore_padding=(True,)),
    S4GAN=dict(ignore_padding=(True,), score_mode=("train",)),
)


def members(wrapper: OptimWrapper | OptimWrapperDict) -> list[OptimWrapper]:
    """The wrappers of single optimisers."""
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def find_floor(
    model: nn.Module, wrapper: OptimWrapper | OptimWrapperDict
) -> tuple[Floor | None, str | None]:
    """The floor of a model, or None and the reason in one line."""
    name = type(model).__name__
    if name not in FLOORS:
        return None, f"no floor is known for {name}, step times only (known: {', '.join(FLOORS)})"
    for key, known in _KNOWN_SETTINGS.get(name, {}).items():
        value = model.semi_train_cfg[key]
        if value not in known:
            return None, f"no floor is known for {name} with {key}={value!r}, step times only"
    if any(isinstance(net.decode_head, nn.ModuleList) for net in model.networks()):
        return None, "no floor is known for a cascade of decode heads, step times only"
    if any(
        type(one) is not OptimWrapper or one._accumulative_counts != 1 or one.clip_grad_kwargs
        for one in members(wrapper)
    ):
        return None, (
            "a floor is known for optim_wrapper.type='OptimWrapper' without accumulation and "
            "clipping only, step times only"
        )
    return FLOORS[name], None


def plain_optimizers(wrapper: OptimWrapper | OptimWrapperDict) -> list[torch.optim.Optimizer]:
    """The wrapper's optimisers with as few parameter groups as their settings allow.

    mmengine makes a group of every parameter; a plain loop has one for each set of settings.
    """
    optimizers = []
    for one in members(wrapper):
        groups: dict[str, dict] = {}
        for group in one.param_groups:
            settings = {key: value for key, value in group.items() if key != "params"}
            own = groups.setdefault(repr(sorted(settings.items())), dict(settings, params=[]))
            own["params"] += group["params"]
        optimizers.append(type(one.optimizer)(list(groups.values())))
    return optimizers
