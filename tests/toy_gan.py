# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A small adversarial segmentor, and the alternating updates of the references in plain torch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

CLASSES = 3
#: lambda_adv, lambda_semi, lambda_semi_adv; large, so that no term hides behind another.
WEIGHTS = (0.5, 0.7, 0.3)

Batch = dict[str, Tensor]


class ToyGAN(BaseModel):
    """A segmentor ``student`` and a ``discriminator``, trained as AdvSemiSeg; a frozen teacher."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.student = nn.Sequential(
                nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, CLASSES, 3, padding=1)
            )
            self.discriminator = nn.Sequential(
                nn.Conv2d(CLASSES, 5, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(5, 1, 3, padding=1)
            )
            self.teacher = nn.Conv2d(3, CLASSES, 1).requires_grad_(False)

    def forward(self, mode: str = "loss", **batch: Tensor) -> dict[str, Tensor]:
        """Both nets' losses; the segmentor's see the discriminator with detached parameters."""
        detached = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        losses, fakes = segmentor_losses(
            self.student, lambda maps: functional_call(self.discriminator, detached, (maps,)), batch
        )
        return dict(**losses, loss_d=discriminator_loss(self.discriminator, fakes, batch))


def segmentor_losses(
    student: nn.Module, judge: Callable[[Tensor], Tensor], batch: Batch
) -> tuple[dict[str, Tensor], Tensor]:
    """The weighted terms of L_S and the detached softmax maps, labelled then unlabelled."""
    logits, logits_u = student(batch["images"]), student(batch["unlabeled"])
    maps, maps_u = logits.softmax(1), logits_u.softmax(1)
    judged, judged_u = judge(maps), judge(maps_u)
    trusted = F.interpolate(judged_u.detach().sigmoid(), scale_factor=2)[:, 0] >= 0.5
    cross_entropy = F.cross_entropy(logits_u, logits_u.argmax(1), reduction="none")
    adversarial, semi, semi_adversarial = WEIGHTS
    losses = dict(
        loss_ce=F.cross_entropy(logits, batch["labels"]),
        loss_adv=adversarial * F.softplus(-judged).mean(),
        loss_semi=semi * (cross_entropy * trusted).sum() / trusted.sum().clamp(min=1),
        loss_semi_adv=semi_adversarial * F.softplus(-judged_u).mean(),
    )
    return losses, torch.cat([maps, maps_u]).detach()


def discriminator_loss(discriminator: nn.Module, fakes: Tensor, batch: Batch) -> Tensor:
    """L_D with labelled and unlabelled predictions as fakes, one-hot masks as real maps."""
    real = F.one_hot(batch["labels"], CLASSES).permute(0, 3, 1, 2).to(fakes.dtype)
    false = F.softplus(discriminator(fakes)).mean()
    return (false + F.softplus(-discriminator(real)).mean()) / 2


def make_batches(count: int, rank: int = 0, dtype: torch.dtype = torch.float32) -> list[Batch]:
    """Batches of 2 labelled and 3 unlabelled 8x8 images; each rank has its own."""
    generator = torch.Generator().manual_seed(100 + rank)
    return [
        dict(
            images=torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64).to(dtype),
            unlabeled=torch.randn(3, 3, 8, 8, generator=generator, dtype=torch.float64).to(dtype),
            labels=torch.randint(CLASSES, (2, 8, 8), generator=generator),
        )
        for _ in range(count)
    ]


def alternate(
    model: ToyGAN,
    optimizers: dict[str, torch.optim.Optimizer],
    ranks: list[list[Batch]],
    window: int,
    max_norm: dict[str, float] | None = None,
    precision: Callable = nullcontext,
) -> list[dict[str, Tensor]]:
    """Trains as the references do, in one process without any wrapper.

    In each iteration the segmentor's backward with the discriminator's parameters switched off,
    then the discriminator's; at the end of a window both optimisers step. Several ranks are an
    average over their batches, and a last window of fewer iterations an average over those.
    Forwards run in the context that ``precision`` makes.

    Returns:
        The gradients by parameter name, as each optimiser step found them.
    """
    count, seen = len(ranks[0]), []
    for start in range(0, count, window):
        iterations = range(start, min(start + window, count))
        share = 1 / (len(iterations) * len(ranks))
        for iteration in iterations:
            for batches in ranks:
                batch = batches[iteration]
                model.discriminator.requires_grad_(False)
                with precision():
                    losses, fakes = segmentor_losses(model.student, model.discriminator, batch)
                (sum(losses.values()) * share).backward()
                model.discriminator.requires_grad_(True)
                with precision():
                    loss = discriminator_loss(model.discriminator, fakes, batch)
                (loss * share).backward()
        for name, limit in (max_norm or {}).items():
            nn.utils.clip_grad_norm_(getattr(model, name).parameters(), limit)
        seen.append(gradients(model))
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
    return seen


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all gradients by parameter name, as there are."""
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def plain_optimizers(model: ToyGAN) -> dict[str, torch.optim.Optimizer]:
    """What :data:`CONFIG` describes, built by hand."""
    return dict(
        student=torch.optim.SGD(
            model.student.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3
        ),
        discriminator=torch.optim.Adam(
            model.discriminator.parameters(), lr=2e-3, betas=(0.9, 0.99)
        ),
    )


CONFIG = dict(
    type="OptimWrapper",
    constructor="JointOptimWrapperConstructor",
    optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=1e-3),
    discriminator=dict(optimizer=dict(type="Adam", lr=2e-3, betas=(0.9, 0.99))),
)


def largest_difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest absolute difference between tensors of the same names."""
    assert found.keys() == expected.keys()
    return max((found[name] - expected[name]).abs().max().item() for name in expected)
