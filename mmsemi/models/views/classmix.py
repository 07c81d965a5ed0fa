# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""ClassMix: half of an image's predicted classes are pasted on another image.

Olsson, Tranheden, Pinto, Svensson, *ClassMix: Segmentation-Based Data Augmentation for
Semi-Supervised Learning*, WACV 2021, https://arxiv.org/abs/2007.07936.

Shape suffixes: N images, C classes, H rows, W columns.
"""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import BoolTensor, LongTensor, Tensor

from ...errors import ConfigError
from ...structures import PseudoLabels, SemiBatch
from .mixing import PairedMix


def choose_classes(
    label_NHW: LongTensor, valid_NHW: BoolTensor, scores_NC: Tensor, min_classes: int = 1
) -> BoolTensor:
    """Half of the classes that each image shows, those with the largest scores.

    Of n classes floor(n / 2) are chosen, at least ``min_classes`` if there are as many.

    Args:
        label_NHW: Classes 0..C-1.
        valid_NHW: False on pixels that do not count.
        scores_NC: A random number for each class.
        min_classes: 1; 0 is the released code, in which an image of one class gives nothing.

    Returns:
        (N, C) bool.
    """
    num_classes = scores_NC.shape[1]
    slots = torch.where(valid_NHW, label_NHW, num_classes).flatten(1)  # slot C: not valid
    counts = scores_NC.new_zeros(len(slots), num_classes + 1)
    present = counts.scatter_(1, slots, 1.0)[:, :num_classes] > 0
    num_chosen = (present.sum(1) // 2).clamp(min=min_classes)
    scores_NC = torch.where(present, scores_NC, -1.0)
    rank = (scores_NC[:, None] > scores_NC[:, :, None]).sum(2)  # classes with a larger score
    return present & (rank < num_chosen[:, None])


@MODELS.register_module()
class ClassMix(PairedMix):
    """Paste the objects of some classes, with their predicted outline, on another image.

    Args:
        pairing: See :class:`PairedMix`.
        same_image: See :class:`PairedMix`.
        min_classes: See :func:`choose_classes`.

    Raises:
        ConfigError: An argument is out of its range.
    """

    uses_labels = True

    def __init__(
        self, pairing: str = "permute", same_image: bool = False, min_classes: int = 1
    ) -> None:
        super().__init__(pairing, same_image)
        if min_classes not in (0, 1):
            raise ConfigError(f"ClassMix: min_classes={min_classes} must be 0 or 1")
        self.min_classes = min_classes

    def draw_masks(
        self, second: LongTensor, batch: SemiBatch, pseudo: PseudoLabels, num_classes: int
    ) -> BoolTensor:
        """The pixels of the chosen classes of each pasted image."""
        device = pseudo.label_NHW.device
        scores = torch.rand(len(second), num_classes, generator=batch.generator)
        second = second.to(device, non_blocking=True)
        label, valid = pseudo.label_NHW[second], batch.unlabeled.valid_NHW[second]
        scores = scores.to(device, non_blocking=True)
        chosen_BC = choose_classes(label, valid, scores, self.min_classes)
        mask_BHW = chosen_BC.gather(1, label.flatten(1)).view_as(label) & valid
        return mask_BHW.unsqueeze(1)
