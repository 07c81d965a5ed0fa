# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Cross pseudo supervision, plain and with CutMix.

Chen, Yuan, Zeng, Wang, *Semi-Supervised Semantic Segmentation With Cross Pseudo Supervision*,
CVPR 2021, https://arxiv.org/abs/2106.01226. The CutMix form follows the authors' released code, its
masks French et al., BMVC 2020, https://arxiv.org/abs/1906.01916. Equations, known answers, and what we
do differently: docs/methods/cps.md.

Two networks with different initialisation see the same input; the argmax of each is the target of
the other, at every pixel, from the first iteration, without threshold or ramp-up.

Decisions:

- ``mix`` decides which form runs: None is the plain one.
- Train mode everywhere, also in the passes without gradient: batch statistics of the pseudo-label
  passes are used, and move the running statistics, as in the released code.
- One network forward per image stream (labelled, u0, u1, mixed), because each has batch-norm
  statistics of its own in the released code; ``joint_forward=True`` is the faster deviation.
- Labels are mixed instead of logits: argmax and per-pixel choice commute, and labels are C times
  smaller.
- One optimiser over both networks equals the two of the paper for SGD without gradient clipping.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.config import ConfigDict
from mmengine.model import ModuleList
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...structures import SemiBatch
from ..branches import tell_apart
from ..checkpoints import fill_network
from ..forward import Outputs, check_per_pixel_logits, forward, hard_labels
from ..losses import cross_entropy
from ..settings import MixSettings, setting
from .base import Losses, SemiSegmentor


@dataclass(frozen=True)
class CPSSettings(MixSettings):
    """Settings of :class:`CPS`."""

    predict_on: int | str | None = setting(
        0, "0, the first network (the published protocol), 1 or `'ensemble'`"
    )
    segmentor2: dict | None = setting(
        None,
        "the second network, of the same classes, e.g. of another architecture; None: one like "
        "`segmentor`",
    )
    second_checkpoint: str | None = setting(
        None,
        "for a start from supervised networks: `load_from` is the checkpoint of the first, and this that of "
        "the second, from another seed; None: a `load_from` that fills both gives the second a new head",
    )
    unsup_weight: float = setting(
        1.5,
        "lambda, weight of the cross pseudo loss; published: VOC 1.5 plain and 1.0 CutMix, Cityscapes "
        "6 and 5, 0.1 with 92-732 labels",
        low=0,
    )
    rampup_iters: int = setting(
        0,
        "iterations over which lambda grows as exp(-5 (1 - t/T)^2); the paper has none and starts "
        "from ImageNet weights, two networks that start from random weights can talk each other "
        "into one class",
        low=0,
    )
    joint_forward: bool = setting(
        False,
        "one forward for all image streams of a network instead of one each: faster, but the streams "
        "share their batch-norm statistics",
    )
    ignore_padding: bool = setting(
        False, "leave padded borders out of the cross pseudo loss; the released code counts them"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.joint_forward:
            self.refuse_shared_forward("joint_forward", "False")


@MODELS.register_module()
class CPS(SemiSegmentor):
    """Cross pseudo supervision.

    Example:
        >>> model = dict(
        ...     type='CPS',
        ...     segmentor=dict(type='EncoderDecoder', ...),
        ...     data_preprocessor=dict(type='SemiSegDataPreProcessor', size=(512, 512)),
        ...     mix=dict(type='CutMix'),
        ...     unsup_weight=1.0)
    """

    Settings = CPSSettings
    settings: CPSSettings

    def build_networks(self, network: dict) -> None:
        """Two networks, of one architecture or of two."""
        second = ConfigDict(self.settings.segmentor2 or network)
        second.setdefault("test_cfg", network.get("test_cfg"))
        check_per_pixel_logits(second)
        if "data_preprocessor" in second:
            self.settings.refuse(
                "segmentor2", "both networks see the same pixels: leave data_preprocessor out"
            )
        # Not torch's ModuleList: mmengine's initialisation, and weight files with it, enters this one.
        # Copies: mmseg moves a segmentor's old setting `pretrained` into its backbone's config.
        self.branches = ModuleList([MODELS.build(copy.deepcopy(one)) for one in (network, second)])
        self._second_config = second
        classes = [net.out_channels for net in self.branches]
        if classes[0] != classes[1]:
            self.settings.refuse("segmentor2", f"its classes must be those of segmentor, {classes}")

    def prepare_training(self) -> None:
        """See that the networks differ; one checkpoint may have filled both.

        Raises:
            ConfigError: They are equal, or ``second_checkpoint`` has no start to go with.
            CheckpointError: ``second_checkpoint`` does not fill the second network.
        """
        super().prepare_training()
        path, is_new = self.settings.second_checkpoint, self.iteration() == 0
        if path is not None and is_new:
            if not self.is_spread:
                self.settings.refuse(
                    "second_checkpoint", "belongs to a load_from with the checkpoint of one network"
                )
            fill_network(self.branches[1], path)
        has_one = self.is_spread and path is None
        tell_apart(*self.branches, self._second_config if has_one else None)

    def loss(self, batch: SemiBatch) -> Losses:
        """One iteration of the paper (sections 3.1 and 3.2).

        Returns:
            ``sup.<branch>.*``: the supervised losses of each network; ``unsup.loss_cps``: the
            weighted cross pseudo loss of both; ``unsup.agree``: share of unlabelled pixels on which
            the networks agree.
        """
        return self._plain_loss(batch) if self.mix is None else self._mixed_loss(batch)

    def _plain_loss(self, batch: SemiBatch) -> Losses:
        """CPS: each network labels all images, the labelled ones included, for the other."""
        x, view = batch.labeled, self.strong_view(batch.unlabeled, batch)
        losses, logits = {}, []
        for i, net in enumerate(self.branches):
            labeled, unlabeled = self._forward_streams(net, [x.pixels_NCHW, view], strong=1)
            losses |= self.supervised(f"sup.{i}", net, labeled, x)
            logits.append(torch.cat([labeled.logits_NCHW, unlabeled.logits_NCHW]))
        valid = torch.cat([x.labels_NHW != self.ignore_index, batch.unlabeled.valid_NHW])
        labels = self._without_padding([hard_labels(one) for one in logits], valid)
        losses["unsup.loss_cps"] = self._cross_pseudo_loss(logits, labels)
        losses["unsup.agree"] = (labels[0] == labels[1])[len(x) :].float().mean()
        self.show(batch.unlabeled, logits[0][len(x) :], view, labels[0][len(x) :])
        self.count_kept(labels[1][len(x) :])
        return losses

    def _mixed_loss(self, batch: SemiBatch) -> Losses:
        """CPS+CutMix: each network labels two images, and is trained on their mix."""
        x, weak = batch.labeled, batch.unlabeled
        streams = weak.pixels_NCHW.split(self.num_mixed(weak))
        pseudo, probabilities = [], None
        with torch.no_grad():
            for net in self.branches:
                weak_logits = torch.cat(
                    [o.logits_NCHW for o in self._forward_streams(net, streams)]
                )
                pseudo.append(self.pseudo_labels(weak_logits))
                if (
                    self.mix.uses_labels or self.mix.uses_certainty
                ):  # one mask for both, from their mean
                    mean = weak_logits.float().softmax(1) / 2
                    probabilities = mean if probabilities is None else probabilities + mean
                del weak_logits
        mean = None if probabilities is None else self.pseudo_labels(probabilities.log())
        mixed, recipe = self.mixed_views(batch, pseudo=mean or pseudo[0])
        valid = recipe.apply(weak.valid_NHW, labeled=x.valid_NHW)
        labels = [recipe.apply(p.label_NHW, labeled=x.labels_NHW) for p in pseudo]
        labels = self._without_padding(labels, valid)

        losses, logits = {}, []
        for i, net in enumerate(self.branches):
            unlabeled, labeled = self._forward_streams(net, [mixed, x.pixels_NCHW], strong=0)
            logits.append(unlabeled.logits_NCHW)
            losses |= self.supervised(f"sup.{i}", net, labeled, x)
        losses["unsup.loss_cps"] = self._cross_pseudo_loss(logits, labels)
        losses["unsup.agree"] = (labels[0] == labels[1]).float().mean()
        self.show(weak, pseudo[0], mixed, labels[0], recipe.first)
        self.count_kept(labels[1])
        return losses

    def _forward_streams(
        self, net: nn.Module, streams: Sequence[Tensor], strong: int | None = None
    ) -> list[Outputs]:
        """Outputs of a network on each stream, in one forward or one each; ``strong`` has the views."""
        if not self.settings.joint_forward:
            runs = [self.forward_strong if i == strong else forward for i in range(len(streams))]
            return [run(net, stream) for run, stream in zip(runs, streams)]
        return forward(net, torch.cat(list(streams))).split([len(stream) for stream in streams])

    def _without_padding(self, labels: list[Tensor], valid_BHW: Tensor) -> list[Tensor]:
        if not self.settings.ignore_padding:
            return labels
        return [torch.where(valid_BHW, one, self.ignore_index) for one in labels]

    def _cross_pseudo_loss(self, logits: list[Tensor], labels: list[Tensor]) -> Tensor:
        """Each network against the other's labels, over the pixels of all images together."""
        loss = cross_entropy(logits[0], labels[1], self.ignore_index)
        loss = loss + cross_entropy(logits[1], labels[0], self.ignore_index)
        return self.settings.unsup_weight * self.rampup() * loss
