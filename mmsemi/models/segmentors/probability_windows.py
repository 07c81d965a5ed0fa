# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Sliding windows whose probabilities are averaged, instead of their logits."""

from __future__ import annotations

import torch
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor

from ..forward import one_channel_logits, two_class_logits
from ..windows import slide_windows


@MODELS.register_module()
class ProbabilityWindowEncoderDecoder(EncoderDecoder):
    """``EncoderDecoder`` that averages softmax probabilities where windows overlap.

    For ``test_cfg=dict(mode='slide', ...)``, as UniMatch's released code tests on Cityscapes: the
    stock class averages logits, by which one window with large ones outvotes the others. Training and
    whole images are the stock ones, and so are the weights.
    """

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """The logarithm of the mean probabilities (N, C, H, W); for one channel, its logit."""
        channels = self.out_channels

        def probabilities(*args) -> Tensor:
            return two_class_logits(self.encode_decode(*args)).softmax(1)[:, -channels:]

        mean = slide_windows(self, inputs, batch_img_metas, probabilities)
        if channels == 1:
            mean = torch.cat([1 - mean, mean], 1)
        logits = mean.clamp(min=torch.finfo(mean.dtype).tiny).log()
        return one_channel_logits(logits) if channels == 1 else logits
