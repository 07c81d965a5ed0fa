# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How many pixels of each class a method is given, and how many it labels itself.

Shape suffixes: N images, H rows, W columns, C classes.
"""

from __future__ import annotations

import torch
from torch import BoolTensor, LongTensor, Tensor


def count_pixels(
    labels_NHW: LongTensor, num_classes: int, valid_NHW: BoolTensor | None = None
) -> LongTensor:
    """Pixels of each class, and those of none, without a wait for the device.

    Args:
        labels_NHW: Class indices; any other value is no class.
        num_classes: C.
        valid_NHW: False where a pixel counts nowhere; None: all count.

    Returns:
        (C + 1,) int64; the last one counts the pixels of no class.
    """
    is_class = (labels_NHW >= 0) & (labels_NHW < num_classes)
    codes = torch.where(is_class, labels_NHW.long(), num_classes)
    if valid_NHW is not None:
        codes = torch.where(valid_NHW, codes, num_classes + 1)
    codes = codes.flatten()
    # Not bincount, which asks the device for its largest value.
    counts = codes.new_zeros(num_classes + 2)
    return counts.scatter_add_(0, codes, torch.ones_like(codes))[:-1]


class LabelCounts:
    """Counts of the steps since they were last taken, on the device.

    Attributes:
        labeled: (C + 1,) pixels of each class in the masks of labelled images, and of no class.
        kept: (C + 1,) pixels of unlabelled images by the pseudo-label that the student is trained on,
            and those without one.
        steps: Steps in ``kept``.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.num_classes = num_classes
        self.labeled = torch.zeros(num_classes + 1, dtype=torch.long, device=device)
        self.kept = torch.zeros_like(self.labeled)
        self.steps = 0

    @torch.no_grad()
    def add_labeled(self, labels_NHW: LongTensor) -> None:
        """Count the masks of labelled images."""
        self.labeled += count_pixels(labels_NHW, self.num_classes)

    @torch.no_grad()
    def add_kept(self, labels_NHW: LongTensor, valid_NHW: BoolTensor | None = None) -> None:
        """Count pseudo-labels; a value that is no class is one that is not kept."""
        self.kept += count_pixels(labels_NHW, self.num_classes, valid_NHW)
        self.steps += 1

    def take(self) -> Tensor:
        """(2, C + 1) float64 on the device, labelled and kept; counting begins again."""
        taken = torch.stack([self.labeled, self.kept]).double()
        self.labeled.zero_()
        self.kept.zero_()
        self.steps = 0
        return taken
