# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""UniMatch V2: an averaged teacher labels, and two strong views share the channels between them.

Yang, Zhao, Zhao, *UniMatch V2: Pushing the Limit of Semi-Supervised Semantic Segmentation*, TPAMI 2025,
https://arxiv.org/abs/2410.10777. Equations, known answers, and what we do differently:
docs/methods/unimatch_v2.md.

The EMA teacher labels the weak view. Its confident labels supervise two strong views, mixed with the
batch in reverse. Between encoder and head each channel of an image goes to one of its two views only,
doubled (complementary dropout): image- and feature-level perturbation need no view of their own.

Decisions:

- The channels are those of all that the decode head is given: tokens or maps of a vision transformer,
  maps of a convolutional net. Layers of one width share their draw, as the tapped layers of a
  transformer do in the released code; layers of another width cannot, and have a draw of their own.
- The labelled images have a forward of their own, as released, and keep all channels. Without batch
  norm ``labeled_forward='strong'``, one forward of all, is exactly the same loss.
- The draws come from the batch's generator, so the same seed drops the same channels on every device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Generator, Tensor

from ...structures import SemiBatch
from ..ema import EMATeacher
from ..forward import Outputs, decode, encode, forward, join_nested, map_nested, split_nested
from ..losses import confident_cross_entropy, kept_share
from ..settings import ThresholdSettings, setting
from .base import Losses, SemiSegmentor


def complementary_factors(
    feats: Any, kept_pairs: float = 0.5, generator: Generator | None = None
) -> Any:
    """Draw by what the channels of the two views of each image are multiplied.

    Args:
        feats: Features of N images' first views and then of their second ones, in nested lists or
            tuples: maps (2N, D, H, W), tokens (2N, L, D) or vectors (2N, D).
        kept_pairs: Share of the images, rounded down, whose two views keep all channels.
        generator: CPU generator.

    Returns:
        Factors of the same structure and type, broadcastable: 0 or 2 for a channel of a first view
        and 2 or 0 for that of its second one, 1 for both in kept pairs. Layers of equal width have
        equal factors.
    """
    drawn: dict[int, Tensor] = {}
    kept: list[int] | None = None

    def draw(feat: Tensor) -> Tensor:
        nonlocal kept
        pairs, width = len(feat) // 2, feat.shape[1 if feat.ndim == 4 else -1]
        if kept is None:  # one choice of images for all layers
            order = torch.randperm(pairs, generator=generator)
            kept = order[: int(pairs * kept_pairs)].tolist()
        if width not in drawn:
            first = 2 * torch.randint(2, (pairs, width), generator=generator)
            first[kept] = 1
            drawn[width] = torch.cat([first, 2 - first]).to(feat.device, non_blocking=True)
        shape = {2: (width,), 3: (1, width), 4: (width, 1, 1)}[feat.ndim]
        return drawn[width].view(-1, *shape).to(feat.dtype)

    return map_nested(draw, feats)


@dataclass(frozen=True)
class UniMatchV2Settings(ThresholdSettings):
    """Settings of :class:`UniMatchV2`."""

    threshold: float = setting(
        0.95, "tau, the least confidence of a label that counts (>=)", low=0, high=1
    )
    sup_weight: float = setting(0.5, "weight of the supervised loss", low=0)
    unsup_weight: float = setting(0.5, "weight of the mean loss of both strong views", low=0)
    rampup_iters: int = setting(
        0,
        "iterations over which `unsup_weight` grows as exp(-5 (1 - t/T)^2); published: none",
        low=0,
    )
    kept_pairs: float = setting(
        0.5,
        "share of the images, rounded down, whose two views keep all channels; 1: no complementary "
        "dropout",
        low=0,
        high=1,
    )
    labeled_forward: str = setting(
        "alone",
        "the labelled images have a forward of their own, as released, or share that of the "
        "`'strong'` views: faster, the same without batch norm, other batch-norm statistics with it",
        choices=("alone", "strong"),
    )
    momentum: float = setting(
        0.004, "weight of the new value in the teacher's average, 1 - decay", low=0, high=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labeled_forward == "strong":
            self.refuse_shared_forward("labeled_forward", "'alone'")


@MODELS.register_module()
class UniMatchV2(SemiSegmentor):
    """UniMatch V2 for any backbone: EMA teacher, two strong views, complementary channel dropout.

    E.g. ``strong=dict(type='StrongPhotometric'), mix=dict(type='SingleBoxCutMix', pairing='reverse')``.
    """

    Settings = UniMatchV2Settings
    settings: UniMatchV2Settings

    def build_networks(self, network: dict) -> None:
        """The student and its teacher, whose decay is min(1 - 1/(k + 1), 0.996) at step k."""
        super().build_networks(network)
        self.teacher = EMATeacher(self.student, self.settings.momentum, warmup=True, buffers="ema")

    def loss(self, batch: SemiBatch) -> Losses:
        """One iteration.

        Returns:
            ``sup.*``: weighted supervised losses; ``unsup.loss_strong``: the weighted mean of the
            losses of both strong views; ``unsup.mask_ratio``: share of their valid pixels whose label
            is confident.
        """
        cfg, student, x, weak = self.settings, self.student, batch.labeled, batch.unlabeled
        with torch.no_grad():
            taught = forward(self.teacher.module, weak.pixels_NCHW)
        pseudo = self.pseudo_labels(taught.logits_NCHW)
        threshold = self.thresholds(pseudo, weak)

        strong, recipe = self.mixed_views(batch, 2, pseudo)
        target = recipe.apply_labels(pseudo, batch, ignore_index=self.ignore_index)
        labeled, unlabeled = self._forward_student(x.pixels_NCHW, strong, batch.generator)

        losses = self.supervised("sup", student, labeled, x)
        unsupervised = confident_cross_entropy(
            unlabeled.logits_NCHW, target, threshold, self.ignore_index, num_views=2
        )
        losses["unsup.loss_strong"] = cfg.unsup_weight * self.rampup() * unsupervised
        losses["unsup.mask_ratio"] = kept_share(target, threshold, self.ignore_index)
        self.show_confident(weak, pseudo, strong, target, recipe.first, threshold)
        return losses

    def _forward_student(
        self, x_NCHW: Tensor, strong_NCHW: Tensor, generator: Generator | None
    ) -> tuple[Outputs, Outputs]:
        """Outputs of the labelled images, and of the strong views with their channels shared."""
        student, size_hw = self.student, x_NCHW.shape[-2:]
        if self.settings.labeled_forward == "alone":
            labeled = forward(student, x_NCHW)
            with self.strong_statistics(student):
                feats = self._share_channels(encode(student, strong_NCHW), generator)
                return labeled, decode(student, feats, size_hw)
        sizes = [len(x_NCHW), len(strong_NCHW)]
        kept, shared = split_nested(encode(student, torch.cat([x_NCHW, strong_NCHW])), sizes)
        both = join_nested(kept, self._share_channels(shared, generator))
        labeled, unlabeled = decode(student, both, size_hw).split(sizes)
        return labeled, unlabeled

    def _share_channels(self, feats: Any, generator: Generator | None) -> Any:
        if self.settings.kept_pairs == 1:
            return feats
        factors = complementary_factors(feats, self.settings.kept_pairs, generator)
        return map_nested(torch.mul, feats, factors)
