# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""To mmseg's tools a method looks like the network that predicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmseg.models import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..forward import one_channel_logits, two_class_logits
from ..semi_model import SemiModel
from ..windows import several_windows
from .patch_grid import check_sizes


class PredictingSegmentor(SemiModel, BaseSegmentor):
    """Proxy of one of its networks, ``predict_on``, or of the mean of all (``'ensemble'``)."""

    @property
    def backbone(self) -> nn.Module:
        return self.network().backbone

    @property
    def decode_head(self) -> nn.Module:
        return self.network().decode_head

    @property
    def num_classes(self) -> int:
        return self.network().num_classes

    @property
    def out_channels(self) -> int:
        return self.network().out_channels

    @property
    def align_corners(self) -> bool:
        return self.network().align_corners

    @property
    def test_cfg(self) -> Any:
        return self.network().test_cfg

    @property
    def ignore_index(self) -> int:
        """Label value without a class, that of the decode head."""
        head = self.network().decode_head
        return (head[-1] if isinstance(head, nn.ModuleList) else head).ignore_index

    def prepare_training(self) -> None:
        """Also see that the encoders take the crop and what is tested."""
        super().prepare_training()
        for net in self.networks():
            check_sizes(net, getattr(self.data_preprocessor, "size", None))

    def extract_feat(self, inputs: Tensor) -> Any:
        """Features of the network that predicts."""
        return self.network().extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits (N, C, H, W) of the network that predicts."""
        return self._ensemble(lambda net: net.encode_decode(inputs, batch_img_metas))

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        return self._ensemble(lambda net: net._forward(inputs, data_samples))

    def _ensemble(self, run: Callable[[nn.Module], Tensor]) -> Tensor:
        if self.predict_on != "ensemble":
            return run(self.network())
        return mean_logits([run(net) for net in self.networks()])

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Segment images with the network of ``predict_on``, by its own ``test_cfg``.

        Sliding windows share forwards, see :func:`~mmsemi.models.windows.slide_windows`.

        ``'ensemble'`` averages the networks' probabilities; its ``seg_logits`` are the logarithm of
        that mean (for one output channel: the mean probability, as mmseg stores it).
        """
        if self.predict_on != "ensemble":
            with several_windows(self.network()) as net:
                return net.predict(inputs, data_samples)
        logits: list[list[Tensor]] = []
        for one in self.networks():
            with several_windows(one) as net:
                results = net.predict(inputs, data_samples)
            logits.append([sample.seg_logits.data for sample in results])
        for sample, *parts in zip(results, *logits):
            if parts[0].shape[0] == 1:  # already probabilities
                mean = torch.stack(parts).mean(0)
                label = (mean > self.decode_head.threshold).to(mean)
            else:
                mean = mean_logits([part[None] for part in parts])[0]
                label = mean.argmax(0, keepdim=True)
            sample.seg_logits.data, sample.pred_sem_seg.data = mean, label
        return results


def mean_logits(logits: list[Tensor]) -> Tensor:
    """Logits (N, C, H, W) whose softmax (for one channel: sigmoid) is the mean of the given ones'."""
    stacked = torch.stack([two_class_logits(one.float()).log_softmax(1) for one in logits])
    mean = stacked.logsumexp(0) - torch.log(torch.tensor(float(len(logits))))
    return mean if logits[0].shape[1] > 1 else one_channel_logits(mean)
