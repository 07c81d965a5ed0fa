# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The baseline: the same data, pipeline and loop, without the unlabelled images."""

from __future__ import annotations

from dataclasses import dataclass

from mmseg.registry import MODELS

from ...structures import SemiBatch
from ..forward import forward
from ..settings import MethodSettings, setting
from .base import Losses, SemiSegmentor


@dataclass(frozen=True)
class SupervisedSettings(MethodSettings):
    """Settings of :class:`Supervised`."""

    strong: dict | None = setting(
        None, "photometric operation of the labelled images, e.g. `dict(type='StrongPhotometric')`"
    )


@MODELS.register_module()
class Supervised(SemiSegmentor):
    """Trains on the labelled images only, so that a method and its baseline differ in one line.

    Unlabelled images in the batch are ignored; set ``sampler.num_per_source.unlabeled`` to 0 (and
    ``batch_size`` to the labelled count) to not load them at all. The labelled draws stay the same.
    """

    Settings = SupervisedSettings
    needs_unlabeled = False
    compares_classes = False

    def loss(self, batch: SemiBatch) -> Losses:
        """The student's own losses on the labelled images, in their strong view if there is one."""
        labeled = forward(self.student, self.strong_view(batch.labeled, batch))
        return self.supervised("sup", self.student, labeled, batch.labeled)
