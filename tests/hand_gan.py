# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the hand-written steps of the methods with a discriminator share."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import hand_step
import torch
from hand_step import NUM_CLASSES, assert_same_step, total
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from step_runner import StepRunner
from torch import Tensor

JOINT = dict(
    constructor="JointOptimWrapperConstructor",
    discriminator=dict(optimizer=dict(type="Adam", lr=1e-3, betas=(0.9, 0.99))),
)


def samples_of(labels: Tensor) -> list[SegDataSample]:
    """Samples with these labels (N, 1, H, W)."""
    samples = []
    for label in labels:
        samples.append(SegDataSample())
        samples[-1].gt_sem_seg = PixelData(data=label)
    return samples


def add_gt_source(inputs: dict[str, Any], samples: dict[str, list]) -> None:
    """A third stream of three images with labels, and a range of values, of its own."""
    generator = torch.Generator().manual_seed(2)
    size = hand_step.SIZE
    labels = torch.randint(0, NUM_CLASSES, (3, 1, size, size), generator=generator)
    labels[0, :, size // 2 :] = 255
    samples["gt"] = samples_of(labels)
    noise = torch.randn(3, 3, size, size, generator=generator, dtype=torch.float64)
    inputs["gt"] = 0.3 * noise


def check_step(
    runner: StepRunner, inputs: dict, samples: dict, by_hand: Callable, **options: Any
) -> dict[str, Tensor]:
    """A method's step against ``by_hand(model, inputs, samples, **options)``, which back-propagates.

    Every value, the gradients of both networks, and all running statistics.

    Returns:
        The method's losses.
    """
    model, reference = runner.model, copy.deepcopy(runner.model)
    expected = by_hand(reference, inputs, samples, **options)
    runner.start_step()
    losses = model.loss(inputs, samples)
    assert {key for key in losses if "loss" in key} == {key for key in expected if "loss" in key}
    for key, value in expected.items():
        torch.testing.assert_close(
            losses[key].double(), value.double(), rtol=1e-6, atol=1e-9, msg=key
        )
    total(losses).backward()
    assert_same_step(model, reference)
    return losses


def assert_each_loss_trains_one_network(model, losses: dict[str, Tensor]) -> None:
    """``disc.loss`` the discriminator, the others the student."""
    student, net = (list(part.parameters()) for part in (model.student, model.discriminator))
    for key in (key for key in losses if "loss" in key):
        found = [
            torch.autograd.grad(losses[key], part, retain_graph=True, allow_unused=True)
            for part in (student, net)
        ]
        reached = [any(g is not None and bool(g.any()) for g in part) for part in found]
        assert reached == [key != "disc.loss", key == "disc.loss"], key


def add_gt_without_mask(inputs: dict[str, Any], samples: dict[str, list]) -> None:
    """The same stream, where the second image has lost its mask."""
    add_gt_source(inputs, samples)
    del samples["gt"][1].gt_sem_seg
    samples["gt"][1].set_metainfo(dict(img_path="a.png"))
