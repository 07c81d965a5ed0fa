# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""PrevMatch: networks from earlier in the training label beside the present one.

Shin, Park, Kim, Yun, Park, Han, *Revisiting and Maximizing Temporal Knowledge in Semi-supervised
Semantic Segmentation*, WACV 2026, https://arxiv.org/abs/2405.20610. Equations, known answers, and what
we do differently: docs/methods/prevmatch.md.

A plug-in of UniMatch (:class:`PrevMatch`, as published) and of FixMatch (:class:`PrevFixMatch`). In
each step one to three of up to eight earlier copies of the network see the weak views; the sum of their
logits with random weights gives further pseudo-labels. Every view that the base method compares with
its labels is compared with these, too, by a loss whose weight rises and falls again.

Decisions:

- Copies are taken on a fixed schedule, without a look at the validation images. The published runs copy
  at each record on these: ``copies='val_best'``, by which validation labels steer the training.
- Copied is the network that predicts, and that validations score: the teacher where there is one.
- The present network's labels and those of the earlier ones are never merged. The sum of all is divided
  by 1 + lambda/2 as soon as there is an earlier network, so that with weights of 1/2 it is
  (Lx + Lu + lambda Lprev)/(2 + lambda).
- Earlier networks label in eval mode, where an image's labels do not depend on the rest of the batch:
  they see each unlabelled image once, as what is mixed and what is pasted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...errors import ConfigError
from ...structures import PseudoLabels, SemiBatch
from ..losses import confident_cross_entropy, image_confidence_cross_entropy, rise_and_fall
from ..previous_networks import PreviousNetworks
from ..settings import MethodSettings, setting
from .base import ComparedViews, Losses
from .fixmatch import FixMatch, FixMatchSettings
from .unimatch import UniMatch, UniMatchSettings

# Images on a GPU of the published Cityscapes runs, which their loss is multiplied by.
_RELEASED_BATCH = 4


@dataclass(frozen=True)
class PreviousSettings(MethodSettings):
    """What PrevMatch adds to the settings of its base method."""

    num_networks: int = setting(
        8, "N, earlier networks that are kept; published: VOC, Cityscapes 8, ADE20K, COCO 5", low=1
    )
    max_drawn: int = setting(3, "K, most earlier networks that label in a step", low=1)
    copies: str = setting(
        "fixed",
        "when the network is copied: at a `'fixed'` distance, or at each record on the validation "
        "images (`'val_best'`, as published: validation labels steer the training)",
        choices=("fixed", "val_best"),
    )
    copy_every: int | None = setting(
        None, "iterations between copies; None: a 20th of the training", low=1
    )
    copy_start: int = setting(
        0, "first iteration at which it may be copied; published: COCO, ADE20K five passes", low=0
    )
    previous_threshold: float = setting(
        0.9, "least confidence of an earlier networks' label that counts (>=)", low=0, high=1
    )
    previous_loss: str = setting(
        "pixel",
        "`'pixel'`: confident pixels count; `'image_mean'`: all do, times the mean confidence of their "
        "image; `'image_mean_released'`: as published for Cityscapes, about four times as much",
        choices=("pixel", "image_mean", "image_mean_released"),
    )
    previous_curve: str = setting(
        "raised_cosine",
        "lambda over the training: `'raised_cosine'` (most published logs), `'triangle'` (the released "
        "code), both from 0 to 1 and back, or `'constant'`",
        choices=("raised_cosine", "triangle", "constant"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_drawn > self.num_networks:
            self.refuse("max_drawn", f"only num_networks={self.num_networks} are kept")
        if self.copies == "val_best":
            self.refuse_unused("copy_every", reason="records say when to copy (copies='val_best')")
        if self.previous_loss != "pixel":
            self.refuse_unused(
                "previous_threshold",
                reason=f"previous_loss={self.previous_loss!r} counts all pixels",
            )


class PreviousGuidance:
    """The plug-in: a mixin in front of a method with ``compare``."""

    settings: PreviousSettings

    def build_networks(self, network: dict) -> None:
        """Those of the base method, and room for earlier ones."""
        super().build_networks(network)
        self.previous = PreviousNetworks(self.settings.num_networks, self.settings.max_drawn)

    def required_hooks(self) -> list[dict]:
        """The one that copies networks, stores and restores them."""
        return [*super().required_hooks(), dict(type="PreviousNetworksHook")]

    def check_batch(self, batch: Any) -> None:
        """Refuse to train without the hook."""
        super().check_batch(batch)
        if not self.previous.length:
            raise ConfigError(
                f"{type(self).__name__} has no PreviousNetworksHook that copies its network: use "
                "train_cfg=dict(type='SemiIterBasedTrainLoop'), which adds the hook, or add "
                "custom_hooks=[dict(type='PreviousNetworksHook')]"
            )

    def loss(self, batch: SemiBatch) -> Losses:
        """One iteration.

        Returns:
            Those of the base method, and ``prev.loss_strong`` (of UniMatch ``prev.loss_feature``,
            too): the same views against the earlier networks' labels; 0 as long as there is none.
        """
        cfg, previous, now = self.settings, self.previous, self.iteration()
        guidance = None
        if previous:
            guidance = self.pseudo_labels(previous.logits(batch.unlabeled.pixels_NCHW, now))
        losses, compared = self.compare(batch)  # the iteration of the base method
        if guidance is None:
            zero = compared[0].logits_BCHW.new_zeros((), dtype=torch.float32)
            return losses | {f"prev.loss_{views.name}": zero for views in compared}

        weight = rise_and_fall(now, previous.length, cfg.previous_curve)
        for views in compared:
            loss = views.weight * weight * self._guided_loss(views, guidance, batch)
            losses[f"prev.loss_{views.name}"] = loss
        share = 1 / (1 + weight / 2)
        return {key: v * share if "loss" in key else v for key, v in losses.items()}

    def _guided_loss(
        self, views: ComparedViews, guidance: PseudoLabels, batch: SemiBatch
    ) -> Tensor:
        """Cross-entropy of views to the labels of earlier networks, mixed as the views are."""
        cfg, ignore = self.settings, self.ignore_index
        if cfg.previous_loss == "pixel":
            target = views.recipe.apply_labels(guidance, batch, ignore_index=ignore)
            return confident_cross_entropy(
                views.logits_BCHW, target, cfg.previous_threshold, ignore, views.num_views
            )
        target = views.recipe.apply_labels(guidance, batch, ignore_padding=False)
        valid = views.recipe.apply(batch.unlabeled.valid_NHW, labeled=batch.labeled.valid_NHW)
        released = _RELEASED_BATCH if cfg.previous_loss == "image_mean_released" else None
        return image_confidence_cross_entropy(
            views.logits_BCHW, target, valid, ignore, views.num_views, released
        )


@dataclass(frozen=True)
class PrevMatchSettings(PreviousSettings, UniMatchSettings):
    """Settings of :class:`PrevMatch`."""


@dataclass(frozen=True)
class PrevFixMatchSettings(PreviousSettings, FixMatchSettings):
    """Settings of :class:`PrevFixMatch`."""


@MODELS.register_module()
class PrevMatch(PreviousGuidance, UniMatch):
    """PrevMatch as published: on UniMatch V1, with the same settings and those of the plug-in."""

    Settings = PrevMatchSettings
    settings: PrevMatchSettings


@MODELS.register_module()
class PrevFixMatch(PreviousGuidance, FixMatch):
    """PrevMatch on FixMatch, in each of its forms."""

    Settings = PrevFixMatchSettings
    settings: PrevFixMatchSettings
