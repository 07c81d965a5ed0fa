# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""UniMatch V1: two strong views and a view with perturbed features must agree with the weak view.

Yang, Qi, Feng, Zhang, Shi, *Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic
Segmentation*, CVPR 2023, https://arxiv.org/abs/2208.09910. Equations, known answers, and what we do
differently: docs/methods/unimatch.md.

The student labels its own weak view. Besides two strong, mixed image views, the weak view's features
with half of their channels dropped must give the same labels. Works for any backbone and head: the
channels are those of all feature maps that the decode head is given.

Decisions:

- Labelled and weak images share the encoder's forward, as released: the weak view needs gradient
  there, for the perturbed features. ``labeled_forward='alone'`` gives the labelled images batch-norm
  statistics of their own.
- The decoder runs with gradient on labelled and perturbed features, and without on the weak ones,
  which only give labels. The released code decodes the labelled features perturbed, too, and throws
  the result away; ``joint_decoder=True`` is that form, for its batch-norm statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from ...structures import SemiBatch
from ..forward import (
    Outputs,
    complete_labels,
    decode,
    encode,
    forward,
    join_nested,
    label_pasted,
    map_nested,
    split_nested,
)
from ..losses import confident_cross_entropy, kept_share
from ..settings import ThresholdSettings, setting
from ..views import MixRecipe
from .base import ComparedViews, Losses, SemiSegmentor


def drop_channels(feats: Any, probability: float) -> Any:
    """Zero whole channels of feature maps, survivors are scaled by 1/(1 - p).

    Args:
        feats: Feature maps (N, C, H, W) in nested lists or tuples; other tensors stay.
        probability: p, of each channel of each image and map.
    """

    def drop(feat: Tensor) -> Tensor:
        return F.dropout2d(feat, probability) if feat.ndim == 4 else feat

    return map_nested(drop, feats)


@dataclass(frozen=True)
class UniMatchSettings(ThresholdSettings):
    """Settings of :class:`UniMatch`."""

    num_views: int = setting(2, "strong views of each unlabelled image", low=1)
    threshold: float = setting(0.95, "tau; published: 0.95, Cityscapes 0", low=0, high=1)
    sup_weight: float = setting(0.5, "weight of the supervised loss", low=0)
    unsup_weight: float = setting(0.5, "weight of the unsupervised loss", low=0)
    feature_weight: float = setting(
        0.5,
        "share of the perturbed-feature view in the unsupervised loss; the strong views share the "
        "rest equally",
        low=0,
        high=1,
    )
    feature_dropout: float = setting(0.5, "probability of a channel to be dropped", low=0, high=1)
    rampup_iters: int = setting(
        0, "iterations over which `unsup_weight` grows as exp(-5 (1 - t/T)^2)", low=0
    )
    labeled_forward: str = setting(
        "weak",
        "the labelled images share encoder and decoder, and thereby the batch-norm statistics, with "
        "the weak views, as released; `'alone'`: they have a forward of their own",
        choices=("weak", "alone"),
    )
    pasted_mode: str = setting(
        "eval",
        "mode of the student that labels pasted pixels; `'train'` takes them from the forward that "
        "labels the rest, one forward less",
        choices=("eval", "train"),
    )
    joint_decoder: bool = setting(
        False,
        "decode labelled, weak and both their perturbed features in one forward, as released: "
        "slower, other batch-norm statistics",
    )


@MODELS.register_module()
class UniMatch(SemiSegmentor):
    """UniMatch V1 (image-level and feature-level perturbation, dual streams).

    E.g. ``strong=dict(type='StrongPhotometric'), mix=dict(type='SingleBoxCutMix')``. With
    ``pairing='halves'`` the pasted images are images of their own (the released code loads a second
    batch for them), with ``'permute'`` the other images of the batch.
    """

    Settings = UniMatchSettings
    settings: UniMatchSettings

    def loss(self, batch: SemiBatch) -> Losses:
        """One iteration (sections 3.2 to 3.4 of the paper).

        Returns:
            ``sup.*``: weighted supervised losses; ``unsup.loss_strong``: of the strong views;
            ``unsup.loss_feature``: of the perturbed features; ``unsup.mask_ratio``: share of valid
            pixels whose label is confident.
        """
        return self.compare(batch)[0]

    def compare(self, batch: SemiBatch) -> tuple[Losses, list[ComparedViews]]:
        """The losses of one iteration, and the views that were compared with pseudo-labels."""
        cfg, student, x, weak = self.settings, self.student, batch.labeled, batch.unlabeled
        count = self.num_mixed(weak)
        first = weak.pixels_NCHW[:count]  # what mixed images start from; the rest is only pasted

        pasted = None
        if self.mix is not None:
            pasted = label_pasted(
                student, weak.pixels_NCHW, count, cfg.pasted_mode, self.pseudo_labels
            )
        labeled, own, perturbed = self._forward_weak(x.pixels_NCHW, first)
        own = self.pseudo_labels(own.logits_NCHW)
        pseudo, pasted = complete_labels(own, pasted, len(weak))
        threshold = self.thresholds(pseudo, weak)

        strong, recipe = self.mixed_views(batch, cfg.num_views, pasted)
        target = recipe.apply_labels(pseudo, batch, pasted, self.ignore_index)
        strong_logits = self.forward_strong(student, strong).logits_NCHW

        losses = self.supervised("sup", student, labeled, x)
        weight = cfg.unsup_weight * self.rampup()
        of_strong = confident_cross_entropy(
            strong_logits, target, threshold, self.ignore_index, cfg.num_views
        )
        label = torch.where(weak.valid_NHW[:count], own.label_NHW, self.ignore_index)
        of_features = confident_cross_entropy(
            perturbed.logits_NCHW, own._replace(label_NHW=label), threshold, self.ignore_index
        )
        weights = weight * (1 - cfg.feature_weight), weight * cfg.feature_weight
        losses["unsup.loss_strong"] = weights[0] * of_strong
        losses["unsup.loss_feature"] = weights[1] * of_features
        losses["unsup.mask_ratio"] = kept_share(target, threshold, self.ignore_index)
        self.show_confident(weak, pseudo, strong, target, recipe.first, threshold)
        unmixed = MixRecipe(recipe.first[:count])
        return losses, [
            ComparedViews("strong", strong_logits, recipe, weights[0], cfg.num_views),
            ComparedViews("feature", perturbed.logits_NCHW, unmixed, weights[1]),
        ]

    def _forward_weak(self, x_NCHW: Tensor, weak_NCHW: Tensor) -> tuple[Outputs, Outputs, Outputs]:
        """Outputs of the labelled images, of the weak views, and of their perturbed features."""
        cfg, student, size_hw = self.settings, self.student, x_NCHW.shape[-2:]
        alone = cfg.labeled_forward == "alone"
        separate = forward(student, x_NCHW) if alone else None
        joined = x_NCHW[:0] if alone else x_NCHW  # what shares a forward with the weak views
        sizes = [len(joined), len(weak_NCHW)]
        feats = encode(student, [joined, weak_NCHW])
        joined_feats, weak_feats = split_nested(feats, sizes)
        if cfg.joint_decoder:
            both = join_nested(feats, drop_channels(feats, cfg.feature_dropout))
            labeled, weak, _, perturbed = decode(student, both, size_hw).split(sizes * 2)
        else:
            # Every map: what a head taps is not always in its `in_index` (c1 of mmseg's DeepLabv3+).
            dropped = drop_channels(weak_feats, cfg.feature_dropout)
            both = join_nested(joined_feats, dropped)
            labeled, perturbed = decode(student, both, size_hw).split(sizes)
            with torch.no_grad():
                weak = decode(student, weak_feats, size_hw)
        return separate or labeled, weak, perturbed
