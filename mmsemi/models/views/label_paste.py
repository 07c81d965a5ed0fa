# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Label pasting: regions of labelled images, with their masks, on unlabelled ones.

Zhao, Yang, Long, Pi, Zhou, Wang, *Augmentation Matters: A Simple-Yet-Effective Approach to
Semi-Supervised Semantic Segmentation* (AugSeg), CVPR 2023, https://arxiv.org/abs/2212.04976.

Shape suffixes: N images, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import BoolTensor, Generator, LongTensor, Tensor

from ...errors import ConfigError
from ...structures import PseudoLabels, SemiBatch
from .cutmix import masks_from_boxes
from .mixing import MixRecipe, PairedMix, Paste


def square_boxes(lam: float, centres_N2: LongTensor, size_hw: tuple[int, int]) -> LongTensor:
    """Square boxes around given centres, cut off at the image's border.

    Args:
        lam: 1 - share of the (square) crop's area; the side is floor(height * sqrt(1 - lam)).
        centres_N2: Row and column of each centre.
        size_hw: Height and width of the images.

    Returns:
        (N, 4) int64 corners (y0, x0, y1, x1).
    """
    height, width = size_hw
    half_hw = torch.tensor([int(n * (1 - lam) ** 0.5) // 2 for n in (height, width)])
    top_left = (centres_N2 - half_hw).clamp(min=0)
    bottom_right = torch.minimum(centres_N2 + half_hw, torch.tensor(size_hw))
    return torch.cat([top_left, bottom_right], 1)


@MODELS.register_module()
class LabelPaste(PairedMix):
    """Labelled boxes on images that the network is unsure of, then CutMix with the result.

    With one pairing p: image i would get a box of labelled image p(i), with probability 1 - its
    certainty; then a box of image p(i), so prepared, is pasted on the unprepared image i. Labelled
    pixels thus reach image i only where the second box shows a first one.

    Args:
        pairing: See :class:`PairedMix`; not 'halves'.
        paste_prob: Probability that an image gets a labelled box; None is 1 - certainty.
        paste_beta: Parameters (a, b) of the Beta distribution of 1 - area share of labelled boxes.
        mix_beta: The same of the boxes of CutMix.

    Raises:
        ConfigError: An argument is out of its range.
    """

    pastes_labels = True

    def __init__(
        self,
        pairing: str = "permute",
        paste_prob: float | None = None,
        paste_beta: Sequence[float] = (8, 2),
        mix_beta: Sequence[float] = (4, 4),
    ) -> None:
        super().__init__(pairing)
        if pairing == "halves":
            raise ConfigError("LabelPaste: pairing='halves' has no labelled image for each image")
        if paste_prob is not None and not 0 <= paste_prob <= 1:
            raise ConfigError(f"LabelPaste: paste_prob={paste_prob} is not in [0, 1]")
        for name, beta in dict(paste_beta=paste_beta, mix_beta=mix_beta).items():
            if len(beta) != 2 or min(beta) <= 0:
                raise ConfigError(f"LabelPaste: {name}={beta} must be two numbers above 0")
        self.paste_prob = paste_prob
        self.uses_certainty = paste_prob is None
        self.paste_beta, self.mix_beta = tuple(paste_beta), tuple(mix_beta)

    def draw(
        self,
        batch: SemiBatch,
        num_views: int = 1,
        pseudo: PseudoLabels | None = None,
        num_classes: int = 0,
    ) -> list[MixRecipe]:
        """Draw the pairs, and boxes for each view; see :meth:`PairedMix.draw`."""
        images, generator = batch.unlabeled, batch.generator
        device = images.pixels_NCHW.device
        move = partial(Tensor.to, device=device, non_blocking=True)
        first, second = self.pair(images.paths, generator)
        recipes = []
        for _ in range(num_views):
            boxes = [self._boxes(len(first), images.size_hw, b, generator) for b in self._betas]
            labeled_mask, mix_mask = map(move, boxes)
            draws_N = move(torch.rand(len(first), generator=generator))
            certainty_N = pseudo.certainty_N if self.paste_prob is None else 1 - self.paste_prob
            gets_label_N = draws_N > certainty_N
            recipes.append(
                label_paste_recipe(
                    move(second), labeled_mask, mix_mask, gets_label_N, len(batch.labeled)
                )
            )
        return recipes

    @property
    def _betas(self) -> tuple[Sequence[float], Sequence[float]]:
        return self.paste_beta, self.mix_beta

    @staticmethod
    def _boxes(
        num: int, size_hw: tuple[int, int], beta: Sequence[float], generator: Generator | None
    ) -> BoolTensor:
        """Masks (num, 1, H, W) of one box each, all of one area; centres not in the first eighth."""
        (seed,) = torch.randint(2**63 - 1, (1,), generator=generator).tolist()
        numbers = np.random.default_rng(seed)
        lam = numbers.beta(*beta)
        centres = [numbers.integers(side // 8, side, num) for side in size_hw]
        boxes = square_boxes(lam, torch.tensor(np.stack(centres, 1)), size_hw)
        return masks_from_boxes(boxes[:, None], size_hw)


def label_paste_recipe(
    second: LongTensor,
    labeled_mask_N1HW: BoolTensor,
    mix_mask_N1HW: BoolTensor,
    gets_label_N: BoolTensor,
    num_labeled: int,
) -> MixRecipe:
    """The recipe of both steps of :class:`LabelPaste`, on the device of its arguments.

    Args:
        second: p(i), the image whose box is pasted on image i.
        labeled_mask_N1HW: Where image i gets labelled image p(i), if it does.
        mix_mask_N1HW: Where image i gets the prepared image p(i).
        gets_label_N: Whether image i gets a labelled box.
        num_labeled: Labelled images in the batch; p(i) counts round them.
    """
    prepared = labeled_mask_N1HW & gets_label_N[:, None, None, None]
    source = len(second) + second % num_labeled
    pastes = [
        Paste(mix_mask_N1HW, second),
        Paste(mix_mask_N1HW & prepared[second], source[second]),
    ]
    return MixRecipe(torch.arange(len(second), device=second.device), pastes, uses_labeled=True)
