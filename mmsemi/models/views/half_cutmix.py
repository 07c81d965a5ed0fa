# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CutMix with a rectangle of half the image, for a whole batch or for none of it, as U2PL mixes.

Wang et al., *Semi-Supervised Semantic Segmentation Using Unreliable Pseudo-Labels*, CVPR 2022,
https://arxiv.org/abs/2203.03884.
"""

from __future__ import annotations

from typing import Any

import torch
from mmseg.registry import MODELS
from torch import BoolTensor, Generator, LongTensor

from ...errors import ConfigError
from ...structures import SemiBatch
from .cutmix import masks_from_boxes
from .mixing import PairedMix


def half_height(width: int, size_hw: tuple[int, int]) -> int:
    """Height of the rectangle of a width whose area is nearest to half the image."""
    return round(size_hw[0] * size_hw[1] / 2 / width)


def draw_half_boxes(
    num: int, size_hw: tuple[int, int], generator: Generator | None = None
) -> LongTensor:
    """Rectangles of half the image that lie inside it.

    Args:
        num: Number of images, N.
        size_hw: Height H and width W, both at least 3.
        generator: CPU generator; 3 N numbers are drawn.

    Returns:
        (N, 4) int64 corners (y0, x0, y1, x1): the width is a whole number from floor(W/2 + 1) to
        W - 1, the height follows, and all places are equally likely.
    """
    height, width = size_hw
    uniform_N3 = torch.rand(num, 3, dtype=torch.float64, generator=generator)
    boxes = []
    for of_width, of_y, of_x in uniform_N3.tolist():
        least = width // 2 + 1
        w = least + int(of_width * (width - least))
        h = half_height(w, size_hw)
        y, x = int(of_y * (height - h + 1)), int(of_x * (width - w + 1))
        boxes.append([y, x, y + h, x + w])
    return torch.tensor(boxes)


@MODELS.register_module()
class HalfCutMix(PairedMix):
    """Pair the unlabelled images of a batch and paste half of one on the other.

    Args:
        pairing: See :class:`PairedMix`. Published: the next image of the batch, which the sampler has
            shuffled; ``'permute'`` is as random.
        same_image: See :class:`PairedMix`.
        prob: Probability that the batch is mixed at all.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self, pairing: str = "permute", same_image: bool = False, prob: float = 0.5
    ) -> None:
        super().__init__(pairing, same_image)
        if not 0 <= prob <= 1:
            raise ConfigError(f"HalfCutMix: prob={prob} is not in [0, 1]")
        self.prob = prob

    def draw_masks(self, second: LongTensor, batch: SemiBatch, *_: Any) -> BoolTensor:
        """A rectangle for each image, or for none: as many numbers are drawn either way."""
        size_hw, generator = batch.unlabeled.size_hw, batch.generator
        is_mixed = torch.rand(1, dtype=torch.float64, generator=generator) < self.prob
        boxes_N4 = draw_half_boxes(len(second), size_hw, generator)
        return masks_from_boxes(boxes_N4[:, None], size_hw) & is_mixed
