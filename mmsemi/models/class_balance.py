# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Rare classes: weights of labelled pixels, and thresholds of pseudo-labels, for each class.

Pure functions first, then what a training carries of them from step to step. Sums are those of all
processes, of integers, so that neither their order nor the number of a process changes them.

Shape suffixes: N images, H rows, W columns, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import BoolTensor, LongTensor, Tensor

from ..errors import CheckpointError
from ..structures import PseudoLabels
from .label_counts import count_pixels

#: Confidences are summed as whole numbers of this part of 1.
_UNIT = 2**20


def class_weights(pixels_C: Tensor, power: float) -> Tensor:
    """Weights by class whose mean over the counted pixels is 1.

    With f the classes' shares of the pixels, w_c = f_c^-p / sum_k f_k^(1-p): p = 0 weights all pixels alike,
    p = 1 all classes, p = 1/2 lies between (inverse square root of the frequency).

    Args:
        pixels_C: Pixels of each class.
        power: p in [0, 1].

    Returns:
        (C,) float32; 1 for a class without a pixel, which no pixel is weighted by.
    """
    share_C = pixels_C.double() / pixels_C.sum().clamp(min=1)
    is_there = share_C > 0
    share_C = torch.where(is_there, share_C, 1.0)
    total = torch.where(is_there, share_C ** (1 - power), 0.0).sum()
    weight_C = share_C**-power / torch.where(total > 0, total, 1.0)
    return torch.where(is_there, weight_C, 1.0).float()


def confidence_by_class(
    pseudo: PseudoLabels, valid_NHW: BoolTensor, num_classes: int
) -> tuple[LongTensor, LongTensor]:
    """Sum of the confidences (in parts of 2^-20) and number of the pixels of each predicted class.

    Args:
        pseudo: Labels and confidences.
        valid_NHW: False on padding.
        num_classes: C.

    Returns:
        Two (C,) int64.
    """
    inside = valid_NHW & (pseudo.label_NHW >= 0) & (pseudo.label_NHW < num_classes)
    codes = torch.where(inside, pseudo.label_NHW, num_classes).flatten()
    units = (pseudo.confidence_NHW.float() * _UNIT).round().long().flatten()
    sums = codes.new_zeros(num_classes + 1)
    counts = torch.zeros_like(sums).scatter_add_(0, codes, torch.ones_like(codes))
    return sums.scatter_add_(0, codes, units)[:-1], counts[:-1]


def class_thresholds(threshold: float, confidence_C: Tensor, is_seen_C: BoolTensor) -> Tensor:
    """tau_c = tau mu_c / max_k mu_k: a class that the network is less sure of needs less confidence.

    FreeMatch's normalisation (Wang et al., ICLR 2023, arXiv 2205.07246, equation 8) of how far each class has
    been learned, with a fixed tau as in FlexMatch (Zhang et al., NeurIPS 2021, arXiv 2110.08263, equation 6).
    FreeMatch measures that by the mean probability of the class over all images, which among pixels is
    mostly the class's size; mu_c here is the mean confidence of the pixels that are labelled c.

    Args:
        threshold: tau in [0, 1].
        confidence_C: mu.
        is_seen_C: Whether a class has had a pseudo-label; before that tau_c = tau.

    Returns:
        (C,) float32 in [0, tau].
    """
    top = torch.where(is_seen_C, confidence_C, 0.0).max()
    share_C = confidence_C / torch.where(top > 0, top, 1.0)
    return (threshold * torch.where(is_seen_C, share_C, 1.0)).float()


class ClassBalance:
    """What a training knows of its classes, equal on all processes.

    It lies beside the optimiser's state in a checkpoint, and weights stay plain.

    Args:
        num_classes: C.
        power: p of :func:`class_weights`.
        decay: lambda of mu <- lambda mu + (1 - lambda) mean confidence of the step, for the classes that it
            shows; the first mean is taken as it is.
    """

    def __init__(self, num_classes: int, power: float, decay: float) -> None:
        self.num_classes, self.power, self.decay = num_classes, power, decay
        self.pixels_C = torch.zeros(num_classes, dtype=torch.long)
        self.confidence_C = torch.zeros(num_classes, dtype=torch.float64)
        self.is_seen_C = torch.zeros(num_classes, dtype=torch.bool)

    def _move_to(self, device: torch.device) -> None:
        if self.pixels_C.device != device:
            self._set(self.state_dict(), device)

    @torch.no_grad()
    def count(self, labels_NHW: LongTensor) -> None:
        """Count the labelled pixels of a step."""
        self._move_to(labels_NHW.device)
        pixels_C = count_pixels(labels_NHW, self.num_classes)[:-1]
        all_reduce(pixels_C)
        self.pixels_C += pixels_C

    @torch.no_grad()
    def weigh(self, labels_NHW: LongTensor) -> Tensor:
        """Weight (N, H, W) float32 of each labelled pixel, by the pixels counted so far; 1 where ignored."""
        weight_C = class_weights(self.pixels_C, self.power)
        is_class = (labels_NHW >= 0) & (labels_NHW < self.num_classes)
        return torch.where(is_class, weight_C[torch.where(is_class, labels_NHW, 0)], 1.0)

    @torch.no_grad()
    def thresholds(self, threshold: float, pseudo: PseudoLabels, valid_NHW: BoolTensor) -> Tensor:
        """Take the pseudo-labels of a step into the averages, and give the threshold of each class."""
        self._move_to(pseudo.label_NHW.device)
        both = torch.stack(confidence_by_class(pseudo, valid_NHW, self.num_classes))
        all_reduce(both)
        sums, counts = both
        mean_C = sums.double() / (_UNIT * counts.clamp(min=1))
        moved_C = self.decay * self.confidence_C + (1 - self.decay) * mean_C
        moved_C = torch.where(self.is_seen_C, moved_C, mean_C)
        self.confidence_C = torch.where(counts > 0, moved_C, self.confidence_C)
        self.is_seen_C = self.is_seen_C | (counts > 0)
        return class_thresholds(threshold, self.confidence_C, self.is_seen_C)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies, for a checkpoint."""
        names = ("pixels_C", "confidence_C", "is_seen_C")
        return {name: getattr(self, name).clone() for name in names}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Inverse of :meth:`state_dict`.

        Raises:
            CheckpointError: It is the state of another number of classes.
        """
        found = len(state["pixels_C"])
        if found != self.num_classes:
            raise CheckpointError(
                f"the checkpoint's class balance has {found} classes, the model {self.num_classes}"
            )
        self._set(state, device)

    def _set(self, state: Mapping[str, Any], device: torch.device) -> None:
        for name, value in state.items():
            setattr(self, name, value.to(device))
