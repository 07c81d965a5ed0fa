# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""UniMatch V1: FixMatch with two strong views and a perturbed-feature view.

Yang, Qi, Feng, Zhang, Shi, *Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic
Segmentation*, CVPR 2023, https://arxiv.org/abs/2208.09910.

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

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import Tensor

from .base import Inputs, Losses
from .fixmatch import Belief, FixMatch, Views
from .network import decode, forward_network, map_nested, split_nested


def drop_channels(feats: Any, probability: float) -> Any:
    """Zero whole channels of feature maps, survivors are scaled by 1/(1 - p).

    Args:
        feats: Feature maps (N, C, H, W) in nested lists or tuples; other tensors stay.
        probability: p, of each channel of each image and map.
    """

    def drop(feat: Tensor) -> Tensor:
        return F.dropout2d(feat, probability) if feat.ndim == 4 else feat

    return map_nested(drop, feats)


@MODELS.register_module()
class UniMatch(FixMatch):
    """UniMatch V1 (image-level and feature-level perturbation, dual streams).

    The preprocessor makes the two strong views: ``data_preprocessor=dict(num_student_views=2,
    strong=dict(type='StrongPhotometric'), mix=dict(type='SingleBoxCutMix', ...))``. With
    ``pairing='halves'`` the CutMix partners are images of their own (the released code loads a second
    batch for them), with ``'permute'`` the other images of the batch.

    ``semi_train_cfg``:

    - ``threshold`` (0.95): tau; published: 0.95, Cityscapes 0.
    - ``sup_weight``, ``unsup_weight`` (0.5, 0.5): weights of supervised and unsupervised loss.
    - ``feature_weight`` (0.5): share of the perturbed-feature view in the unsupervised loss; the
      strong views share the rest equally.
    - ``feature_dropout`` (0.5): probability of a channel to be dropped.
    - ``rampup_iters`` (0): iterations over which ``unsup_weight`` grows as exp(-5 (1 - t/T)^2).
    - ``partner_mode`` (``'eval'``): as in :class:`FixMatch`.
    - ``labeled_forward`` (``'weak'``): the labelled images share encoder and decoder, and thereby
      the batch-norm statistics, with the weak views, as released; ``'alone'``: they have a forward
      of their own.
    - ``joint_decoder`` (False): decode labelled, weak and both their perturbed features in one
      forward, as released; slower, other batch-norm statistics.
    """

    train_cfg_defaults = dict(
        threshold=0.95,
        sup_weight=0.5,
        unsup_weight=0.5,
        feature_weight=0.5,
        feature_dropout=0.5,
        rampup_iters=0,
        partner_mode="eval",
        labeled_forward="weak",
        joint_decoder=False,
    )
    has_teacher = False

    def _check_settings(self) -> None:
        self._check_choice("partner_mode", ("eval", "train"))
        self._check_choice("labeled_forward", ("weak", "alone"))
        if self.num_views != 2:
            print_log(
                f"UniMatch with {self.num_views} strong view(s): the paper has 2, "
                "data_preprocessor.num_student_views=2",
                "current",
            )

    def _forward_views(self, inputs: Inputs) -> Views:
        net, labeled_x, own = self.student, inputs["sup"], self._own_images(inputs)
        size_hw = labeled_x.shape[-2:]
        alone = self.semi_train_cfg["labeled_forward"] == "alone"
        separate = forward_network(net, labeled_x) if alone else None
        joined = labeled_x[:0] if alone else labeled_x  # what shares a forward with the weak views
        sizes = [len(joined), len(own)]
        feats = net.extract_feat(torch.cat([joined, own]))
        joined_feats, weak_feats = split_nested(feats, sizes)
        if self.semi_train_cfg["joint_decoder"]:
            both = map_nested(_cat, feats, self._perturb(feats))
            labeled, weak, _, perturbed = decode(net, both, size_hw).split(sizes * 2)
        else:
            both = map_nested(_cat, joined_feats, self._perturb(weak_feats))
            labeled, perturbed = decode(net, both, size_hw).split(sizes)
            with torch.no_grad():
                weak = decode(net, weak_feats, size_hw)
        labeled = separate if alone else labeled
        belief = self._belief(weak.logits_NCHW)
        strong = forward_network(net, inputs["unsup_student"])
        return Views(labeled, strong.logits_NCHW, belief, perturbed.logits_NCHW)

    def _perturb(self, feats: Any) -> Any:
        # Every map: what a head taps is not always in its `in_index` (c1 of mmseg's DeepLabv3+).
        return drop_channels(feats, self.semi_train_cfg["feature_dropout"])

    def _unsupervised(self, inputs: Inputs, views: Views, belief: Belief, target: Belief) -> Losses:
        weight = self.semi_train_cfg["unsup_weight"] * self.rampup()
        share = self.semi_train_cfg["feature_weight"]
        valid = inputs["valid"][: len(belief.label_NHW)]
        label = torch.where(valid, belief.label_NHW, self.ignore_index)
        feature_loss = self._confident_loss(views.perturbed_NCHW, belief.confidence_NHW, label)
        return {
            "unsup.loss_strong": weight * (1 - share) * self._strong_loss(views, target),
            "unsup.loss_feature": weight * share * feature_loss,
        }


def _cat(*parts: Tensor) -> Tensor:
    return torch.cat(parts)
