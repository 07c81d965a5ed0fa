# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CAC: features of a pixel in two contexts, the less confident pulled to the more confident one.

Lai, Tian, Jiang, Liu, Zhao, Wang, Jia, *Semi-supervised Semantic Segmentation with Directional
Context-aware Consistency*, CVPR 2021, https://arxiv.org/abs/2106.14133. Equations, known answers, and
what we do differently: docs/methods/cac.md.

Two crops of an unlabelled image overlap. For each pixel of the overlap the projected feature of the
less confident crop is pulled to the other one, if that is confident enough, and pushed from the
features of other classes in both crops, on all processes and in the last steps.

Decisions:

- Three passes in train mode, one for the labelled images and one a crop, each with batch statistics
  and dropout of its own: labels and confidences come from the same passes.
- The classifier labels the features without gradient, so that unlabelled images never train it.
- Before ``start_iter`` unlabelled images are not looked at, and nothing happens to the projector.
- The crops' overlap is known from sampling, so it is cut out by whole numbers of the host.
- What is released divides by the number of selected pixels of all images on a process, not by that
  of all pixels of the overlap, as the paper's equation does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...structures import SECOND_CROP, Images, SemiBatch
from ..crop_pairs import (
    CropView,
    check_crop_pairs,
    cut_overlap,
    flip_chosen,
    select_rows,
    upsample_labels,
)
from ..features import Projector, classifier_channels, classifier_features, classify, pool_to_stride
from ..forward import eval_mode, forward, pseudo_labels
from ..losses import DirectionalContrastiveLoss, full_precision
from ..memory_bank import MemoryBank
from ..settings import ViewSettings, setting
from .base import Losses, SemiSegmentor


@dataclass(frozen=True)
class CACSettings(ViewSettings):
    """Settings of :class:`CAC`."""

    unsup_weight: float = setting(0.1, "lambda, weight of the contrastive losses", low=0)
    temperature: float = setting(0.1, "tau, by which products of features are divided", low=1e-3)
    threshold: float = setting(
        0.75, "gamma, the confidence above which a feature is a target (>)", low=0, high=1
    )
    start_iter: int = setting(
        0,
        "first iteration that looks at unlabelled images; published: 5,785, five epochs of 1,157",
        low=0,
    )
    rampup_iters: int = setting(
        0,
        "iterations over which `unsup_weight` grows as exp(-5 (1 - t/T)^2); published: none",
        low=0,
    )
    step_save: int = setting(
        1,
        "past steps whose features are negatives, too; published: VOC R50 1, R101 2, Cityscapes 0",
        low=0,
    )
    selected_num: int | None = setting(
        None,
        "pixels of each crop's batch on a process that become negatives, drawn at random; None, or "
        "more than there are: all, as the released values amount to",
        low=1,
    )
    stride: int = setting(
        8, "pixels of the image to a pixel of the features, that of `OverlappingCropPair`", low=1
    )
    projector_channels: int = setting(128, "channels of the projected features", low=1)
    ignore_padding: bool = setting(
        False, "no feature of a cell with padding is a negative; the released code takes them"
    )
    eps: float = setting(
        0.0, "1e-8: the loss as released, see docs/methods/cac.md", low=0, high=1e-3
    )


@MODELS.register_module()
class CAC(SemiSegmentor):
    """Directional context-aware consistency.

    Unlabelled images come as pairs: ``train_dataloader.dataset.unlabeled.pipeline`` ends in
    ``OverlappingCropPair`` and ``PackSemiInputs``.
    """

    Settings = CACSettings
    settings: CACSettings
    takes_crop_pairs = True

    def build_networks(self, network: dict) -> None:
        """The student, and the projector that only training needs."""
        super().build_networks(network)
        cfg = self.settings
        self.projector = Projector(classifier_channels(self.student), cfg.projector_channels)
        self.contrast = DirectionalContrastiveLoss(cfg.temperature, cfg.threshold, cfg.eps)
        self.memory_bank = MemoryBank(cfg.step_save)
        self._has_started = False

    def required_hooks(self) -> list[dict]:
        """Those that keep the bank, and the projector as it is before it is used."""
        own = [dict(type="MemoryBankHook"), dict(type="IdleParametersHook")]
        return [*super().required_hooks(), *own]

    def idle_parameters(self) -> list[nn.Parameter]:
        """Parameters that no step of this run has used yet."""
        return [] if self._has_started else list(self.projector.parameters())

    def prepare_training(self) -> None:
        """See at once that the features fit the stride, not at ``start_iter``."""
        super().prepare_training()
        size, mean = self.data_preprocessor.size, getattr(self.data_preprocessor, "mean", None)
        if size is not None and mean is not None:
            with eval_mode(self.student):
                self._features(mean.new_zeros(1, len(mean), *size))

    def check_batch(self, batch: Any) -> None:
        """Refuse unlabelled images that are no pairs, or pairs of another stride."""
        super().check_batch(batch)
        check_crop_pairs(batch, self.settings.stride)

    def loss(self, batch: SemiBatch) -> Losses:
        """One iteration.

        Returns:
            ``sup.*``: supervised losses; ``unsup.loss_dc1`` and ``unsup.loss_dc2``: the weighted loss
            of the first and of the second crop's anchors; ``unsup.mask_ratio``: share of the pixels
            of the overlap that are anchors.
        """
        cfg, student, x = self.settings, self.student, batch.labeled
        losses = self.supervised("sup", student, forward(student, x.pixels_NCHW), x)
        if self.iteration() < cfg.start_iter:
            # On every rank; IdleParametersHook sees that these gradients of 0 move nothing.
            nothing = 0 * sum(parameter.sum() for parameter in self.projector.parameters())
            return losses | {"unsup.loss_dc1": nothing, "unsup.loss_dc2": nothing}
        self._has_started = True

        crops = batch.unlabeled, batch.sources[SECOND_CROP]
        first, second, flips, _ = zip(*(sample.crop_pair for sample in crops[0].samples))
        views = [self._look_at(*one, batch) for one in zip(crops, zip(*flips))]
        rows = [
            select_rows(view, images, cfg.selected_num, cfg.ignore_padding, batch.generator)
            for view, images in zip(views, crops)
        ]
        bank = self.memory_bank.extend(*(torch.cat(part) for part in zip(*rows)))
        overlaps = cut_overlap(views[0], first), cut_overlap(views[1], second)
        directions = self.contrast(*overlaps, *bank)
        weight = cfg.unsup_weight * self.rampup()
        losses["unsup.loss_dc1"] = weight * directions.first
        losses["unsup.loss_dc2"] = weight * directions.second
        losses["unsup.mask_ratio"] = directions.selected
        return losses

    def _look_at(self, crops: Images, flips: Sequence[bool], batch: SemiBatch) -> CropView:
        """One pass over one crop of each image."""
        pixels_NCHW = self.strong_view(crops, batch)
        with self.strong_statistics(self.student):
            features = self._features(flip_chosen(pixels_NCHW, flips))
        with torch.no_grad():
            pseudo = pseudo_labels(classify(self.student, features.detach()))
        projected = F.normalize(full_precision(self.projector(features)), dim=1)
        maps = projected, pseudo.label_NHW, pseudo.confidence_NHW
        view = CropView(*(flip_chosen(one, flips) for one in maps))
        if self.is_watched and crops is batch.unlabeled:
            shown = upsample_labels(view, self.settings.stride)
            kept = shown.confidence_NHW > self.settings.threshold
            target = torch.where(kept, shown.label_NHW, self.ignore_index)
            self.show(crops, shown, pixels_NCHW, target)
        return view

    def _features(self, x_NCHW: Tensor) -> Tensor:
        features = classifier_features(self.student, x_NCHW)
        return pool_to_stride(features, x_NCHW.shape[-2:], self.settings.stride)
