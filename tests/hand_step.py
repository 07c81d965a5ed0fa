# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Pieces of training steps written out in plain torch, to compare the methods' own steps with.

Everything is double precision, so that a wrong term cannot hide in rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from step_runner import StepRunner
from tiny_nets import initial
from torch import Tensor, nn

from mmsemi.models.augment import MixRecipe

SIZE = 16
NUM_CLASSES = 3


def make_method(segmentor: dict, preprocessor: dict, **model) -> StepRunner:
    """A method with its hooks, without dropout in the head, in double precision.

    The teacher is not the student, as after some training: other weights, other statistics.
    """
    segmentor = copy.deepcopy(segmentor)
    segmentor["backbone"]["zero_init_residual"] = False
    segmentor["decode_head"]["dropout_ratio"] = 0
    segmentor["decode_head"]["init_cfg"] = initial(0.5)
    torch.manual_seed(0)
    method = MODELS.build(dict(segmentor=segmentor, data_preprocessor=preprocessor, **model))
    method.init_weights()
    method.double()
    for name, value in method.named_buffers():
        if "running_var" in name:
            value.uniform_(0.5, 2)
        elif "running_mean" in name:
            value.normal_(0, 0.2)
    runner = StepRunner(method)
    if method.has_teacher:
        with torch.no_grad():
            for value in method.teacher.state_dict().values():
                if value.is_floating_point():
                    value.mul_(1 + 0.2 * torch.rand_like(value))
    return runner


def make_batch(
    pairing: str | None = None, views: int = 1, strong: bool = True
) -> tuple[dict[str, Any], dict[str, list]]:
    """Branches of 2 labelled and 4 unlabelled images, as the preprocessor would make them.

    Labels have ignored rows, two unlabelled images have padding, each view has masks of its own.

    Args:
        pairing: 'halves', 'permute' or 'reverse' partners; None does not mix.
        views: Student views.
        strong: Whether the student views have other pixels than the weak ones.
    """
    generator = torch.Generator().manual_seed(1)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, SIZE, SIZE, generator=generator, dtype=torch.float64)

    labels = torch.randint(0, NUM_CLASSES, (2, 1, SIZE, SIZE), generator=generator)
    labels[:, :, :3] = 255
    weak = noise(4, 3)
    valid = torch.ones(4, SIZE, SIZE, dtype=torch.bool)
    valid[1, -4:] = False
    valid[2, :, -6:] = False
    students = [weak + 0.5 * noise(4, 3) if strong else weak for _ in range(views)]
    recipe = None
    if pairing is not None:
        first, second = {
            "halves": ([0, 1], [3, 2]),
            "permute": ([0, 1, 2, 3], [2, 3, 1, 0]),
            "reverse": ([0, 1, 2, 3], [3, 2, 1, 0]),
        }[pairing]
        recipes = []
        for view in range(views):
            mask = torch.zeros(len(first), 1, SIZE, SIZE, dtype=torch.bool)
            for i in range(len(first)):
                mask[i, :, 2 + i : 9 + i + view, 3 * view : 12 - i] = True
            recipes.append(MixRecipe(mask, torch.tensor(first), torch.tensor(second)))
        students = [recipe.apply(view) for recipe, view in zip(recipes, students)]
        recipe = MixRecipe.concatenate(recipes)
    samples = []
    for label in labels:
        samples.append(SegDataSample())
        samples[-1].gt_sem_seg = PixelData(data=label)
    inputs = dict(
        sup=noise(2, 3),
        unsup_teacher=weak,
        unsup_student=torch.cat(students),
        mix=recipe,
        valid=valid,
    )
    return inputs, dict(sup=samples)


def ground_truth(samples: dict[str, list]) -> Tensor:
    return torch.stack([sample.gt_sem_seg.data[0] for sample in samples["sup"]])


def upsample(net: nn.Module, output: Tensor) -> Tensor:
    return F.interpolate(
        output, (SIZE, SIZE), mode="bilinear", align_corners=net.decode_head.align_corners
    )


def logits(net: nn.Module, x: Tensor) -> Tensor:
    """The network in plain torch calls."""
    return upsample(net, net.decode_head(net.backbone(x)))


def mix(recipe: MixRecipe, own: Tensor, partner: Tensor) -> Tensor:
    """Pixels of ``partner[second]`` inside the boxes, of ``own[first]`` outside, one by one."""
    mixed = []
    for box, i, j in zip(recipe.mask_B1HW, recipe.first.tolist(), recipe.second.tolist()):
        box = box.to(own.dtype)
        box = box if own.ndim == 4 else box[0]
        mixed.append((own[i] * (1 - box) + partner[j] * box).to(own.dtype))
    return torch.stack(mixed)


def total(losses: dict[str, Tensor]) -> Tensor:
    return sum(value for key, value in losses.items() if "loss" in key)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_same_step(model: nn.Module, reference: nn.Module, skip: Sequence[str] = ()) -> None:
    """Equal gradients of all parameters and equal buffers, both networks.

    Args:
        model: After its own step.
        reference: A copy of it from before, after the step written out.
        skip: Parts of names of buffers that are not compared.
    """
    ours, theirs = gradients(model), gradients(reference)
    assert ours.keys() == theirs.keys()
    assert {name for name, p in model.named_parameters() if p.requires_grad} == ours.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-5, atol=1e-6, msg=name)
    assert any(gradient.abs().max() > 1e-3 for gradient in theirs.values())
    values = dict(reference.named_buffers())
    for name, value in model.named_buffers():
        if not any(part in name for part in skip):
            torch.testing.assert_close(value, values[name], rtol=1e-9, atol=1e-9, msg=name)


def expected_teacher(
    student: nn.Module, teacher: nn.Module, weight: float, buffers: str
) -> dict[str, Tensor]:
    """The average as it must be, in plain torch; call it before it is made.

    Args:
        student: New values.
        teacher: Old values.
        weight: Weight of the new value.
        buffers: 'keep' or 'ema' (integer buffers are copied).
    """
    names = {name for name, _ in teacher.named_parameters()}
    new = dict(student.state_dict())
    result = {}
    for name, old in teacher.state_dict().items():
        if name in names or (buffers == "ema" and old.is_floating_point()):
            result[name] = (1 - weight) * old + weight * new[name]
        else:
            result[name] = (new[name] if buffers == "ema" else old).clone()
    return result


def assert_state(net: nn.Module, expected: dict[str, Tensor]) -> None:
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12, msg=name)
