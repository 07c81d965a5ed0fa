# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The student of a round of self-training: labelled images beside images with stored pseudo-labels.

One class for DST-CBC (https://arxiv.org/abs/2004.08514v1), DMT (https://arxiv.org/abs/2004.08514), and
ST and ST++ (https://arxiv.org/abs/2106.05095), which differ in how a stored label is weighted and in the
view that the student sees. Who labels what in which round is the command ``mmsemi self-train``.
Equations, known answers, and what we do differently: docs/methods/dst_cbc.md, dmt.md, st_plus_plus.md.

Decisions:

- All images share one forward, and so the batch statistics, as in every released code of the family.
- The loss is one mean over all valid pixels of the batch, labelled and pseudo-labelled, not the sum of
  two means; a weight does not change the divisor.
- Weights come from the view in training, after its augmentation, and carry no gradient.
- Auxiliary heads, which none of the papers has, weigh their pixels as the decode head does.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.utils import add_prefix
from torch import LongTensor, Tensor

from ...errors import ConfigError
from ...structures import PSEUDO, Images, SemiBatch
from ..forward import forward, supervised_losses
from ..losses import WeightedLabels
from ..settings import MethodSettings, setting
from .base import Losses, SemiSegmentor

_STACKED = ("pixels_NCHW", "rgb_NCHW", "valid_NHW")


@dataclass(frozen=True)
class SelfTrainingSettings(MethodSettings):
    """Settings of :class:`SelfTraining`."""

    weight: dict | None = setting(
        None,
        "how much a stored label counts: `dict(type='DynamicWeight', gamma=9)` (DST-CBC), "
        "`dict(type='MutualWeight', gamma1=5, gamma2=5)` (DMT), `dict(type='StoredWeight', gamma=9)`; "
        "None: as much as a true one (ST)",
    )
    strong: dict | None = setting(
        None,
        "photometric operation of the pseudo-labelled images, e.g. `dict(type='StrongPhotometric')` (ST)",
    )
    cutout: dict | None = setting(
        None, "boxes of noise in the pseudo-labelled images, e.g. `dict(type='Cutout')` (ST)"
    )


@MODELS.register_module()
class SelfTraining(SemiSegmentor):
    """Trains on labelled images and on the source ``pseudo``, whose labels are stored."""

    Settings = SelfTrainingSettings
    settings: SelfTrainingSettings
    needs_unlabeled = False

    def build_networks(self, network: dict) -> None:
        """The student, and what weighs its labels."""
        super().build_networks(network)
        cfg = self.settings
        self.weight = MODELS.build(cfg.weight) if cfg.weight else None
        self.cutout = MODELS.build(cfg.cutout) if cfg.cutout else None

    def check_batch(self, batch: object) -> None:
        """Also refuse a batch without pseudo-labels."""
        super().check_batch(batch)
        pseudo = batch.sources.get(PSEUDO)
        if pseudo is None or pseudo.labels_NHW is None:
            raise ConfigError(
                "SelfTraining got no image with a stored label: give the data set "
                "sources=dict(pseudo=dict(type='PseudoLabelDataset', ...)) and set "
                "sampler.num_per_source.pseudo, or start it by `mmsemi self-train`"
            )

    def loss(self, batch: SemiBatch) -> Losses:
        """One iteration.

        Returns:
            The network's own losses over all pixels; ``pseudo.admitted``: share of the pixels of
            pseudo-labelled images that have a label; with a weight ``pseudo.weight``: its mean over these;
            with a mutual one ``pseudo.disagree`` and ``pseudo.won``: shares of them.
        """
        labeled, pseudo = batch.labeled, batch.sources[PSEUDO]
        views_NCHW, label_NHW = self._views(pseudo, batch)
        outputs = forward(self.student, torch.cat([labeled.pixels_NCHW, views_NCHW]))

        stored = WeightedLabels(label_NHW, torch.ones_like(label_NHW, dtype=torch.float32))
        if self.weight is not None:
            logits_NCHW = outputs.logits_NCHW[len(labeled) :]
            stored = self.weight(
                logits_NCHW, label_NHW, self._confidence(pseudo), self.ignore_index
            )
        weight_NHW, of_labels = None, self.label_weights(labeled)
        if self.weight is not None or of_labels is not None:
            ones = torch.ones_like(labeled.labels_NHW, dtype=torch.float32)
            weight_NHW = torch.cat([ones if of_labels is None else of_labels, stored.weight_NHW])
        both = self._join(labeled, pseudo, stored.label_NHW)
        losses = add_prefix(supervised_losses(self.student, outputs, both, weight_NHW), "sup")

        valid = (label_NHW != self.ignore_index) & pseudo.valid_NHW
        count = valid.sum().clamp(min=1)
        self.count_kept(label_NHW, pseudo.valid_NHW)
        losses["pseudo.admitted"] = valid.sum() / pseudo.valid_NHW.sum().clamp(min=1)
        if self.weight is not None:
            losses["pseudo.weight"] = stored.weight_NHW.sum() / count
        if stored.wins_NHW is not None:
            losses["pseudo.disagree"] = stored.disagrees_NHW.sum() / count
            losses["pseudo.won"] = stored.wins_NHW.sum() / count
        return losses

    def _views(self, pseudo: Images, batch: SemiBatch) -> tuple[Tensor, LongTensor]:
        """The student's views of pseudo-labelled images, and their labels."""
        views_NCHW, label_NHW = self.strong_view(pseudo, batch), pseudo.labels_NHW
        if self.cutout is not None:
            box_NHW, noise_NCHW = self.cutout.draw(views_NCHW, batch.generator)
            if pseudo.range_N2 is not None:
                low, high = pseudo.range_N2.view(-1, 2, 1, 1, 1).unbind(1)
                noise_NCHW = noise_NCHW / 255 * (high - low) + low
            noise_NCHW = self.data_preprocessor.normalize(noise_NCHW, pseudo.valid_NHW)
            views_NCHW = torch.where(box_NHW[:, None], noise_NCHW, views_NCHW)
            label_NHW = torch.where(box_NHW, self.ignore_index, label_NHW)
        return views_NCHW, label_NHW

    def _confidence(self, pseudo: Images) -> Tensor | None:
        """Stored confidences (N, H, W) in [0, 1], where the weight asks for them.

        Raises:
            ConfigError: An image has none.
        """
        if not self.weight.needs_confidence:
            return None
        for sample in pseudo.samples:
            if "gt_confidence" not in sample:
                raise ConfigError(
                    f"{type(self.weight).__name__} needs the confidence of each stored label, and "
                    f"'{sample.metainfo.get('img_path')}' has none: set conf_map_path in data_prefix of "
                    "train_dataloader.dataset.sources.pseudo, and end its pipeline with PackSemiInputs"
                )
        return torch.stack([sample.gt_confidence.data[0] for sample in pseudo.samples])

    @staticmethod
    def _join(labeled: Images, pseudo: Images, label_NHW: LongTensor) -> Images:
        """Labelled and pseudo-labelled images as one batch, for the network's own losses."""
        samples = [copy.copy(sample) for sample in pseudo.samples]
        for sample, label_HW in zip(samples, label_NHW):
            sample.gt_sem_seg = PixelData(data=label_HW[None])
        pairs = ((getattr(labeled, name), getattr(pseudo, name)) for name in _STACKED)
        joined = dict(zip(_STACKED, map(torch.cat, pairs)))
        joined["labels_NHW"] = torch.cat([labeled.labels_NHW, label_NHW])
        return Images(samples=[*labeled.samples, *samples], **joined)
