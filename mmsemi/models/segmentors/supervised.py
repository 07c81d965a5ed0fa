# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The baseline: the same data, pipeline and loop, without the unlabelled images."""

from __future__ import annotations

from mmseg.registry import MODELS

from .base import Inputs, Losses, Samples, SemiSegmentor


@MODELS.register_module()
class Supervised(SemiSegmentor):
    """Trains on the labelled images only, so that a method and its baseline differ in one line.

    Unlabelled images in the batch are ignored; set ``sampler.num_per_source.unlabeled`` to 0 (and
    ``batch_size`` to the labelled count) to not load them at all. The labelled draws stay the same.
    """

    takes_several_views = True

    def loss(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """The student's own losses on the labelled images."""
        self._check_training_inputs(inputs)
        return self.loss_by_gt(inputs, data_samples)
