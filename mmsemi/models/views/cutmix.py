# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CutMix: masks of several boxes (:class:`CutMix`) or of one box or none (:class:`SingleBoxCutMix`).

- French et al., *Semi-supervised semantic segmentation needs strong, varied perturbations*, BMVC
  2020, arXiv 1906.01916: the masks of CutMix mean teacher and CPS.
- Yang et al., *Revisiting weak-to-strong consistency in semi-supervised semantic segmentation*, CVPR
  2023, arXiv 2208.09910: the masks of UniMatch.

Shape suffixes: N masks, K boxes, H rows, W columns.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import BoolTensor, Generator, LongTensor, Tensor

from ...errors import ConfigError
from ...structures import SemiBatch
from .mixing import PairedMix

# Most boxes are found in the first round: a candidate fits with probability 0.07 to 0.6.
_CANDIDATES = 32
_LOWEST_ACCEPTANCE = 0.01


def boxes_from_uniforms(
    area_NK: Tensor, aspect_NK: Tensor, position_NK2: Tensor, size_hw: tuple[int, int]
) -> LongTensor:
    """Turn random numbers into boxes that lie inside the image.

    A box of area fraction p has height fraction p^u and width fraction p^(1-u), both scaled by
    sqrt(1/K) so that K boxes together have about the area of one (French et al., *Semi-supervised
    semantic segmentation needs strong, varied perturbations*, BMVC 2020, arXiv 1906.01916). Sizes
    and positions are rounded half to even.

    Args:
        area_NK: p, area fractions in (0, 1], float64.
        aspect_NK: u in [0, 1): 0 gives full-height boxes, 1 full-width ones, before scaling.
        position_NK2: (y, x) position in [0, 1) within the room that the box leaves.
        size_hw: Height and width of the image.

    Returns:
        (N, K, 4) int64 corners (y0, x0, y1, x1); rows y0..y1-1 and columns x0..x1-1 are inside.
    """
    num_boxes = area_NK.shape[1]
    image_size = torch.tensor(size_hw, dtype=area_NK.dtype)
    fractions = torch.stack([area_NK**aspect_NK, area_NK ** (1 - aspect_NK)], dim=-1)
    box_size = (fractions * (1 / num_boxes) ** 0.5 * image_size).round()
    top_left = ((image_size - box_size) * position_NK2).round()
    return torch.cat([top_left, top_left + box_size], dim=-1).long()


def masks_from_boxes(boxes_NK4: LongTensor, size_hw: tuple[int, int]) -> BoolTensor:
    """Rasterise boxes; each one toggles its area, so that overlaps of two cancel.

    Args:
        boxes_NK4: Corners (y0, x0, y1, x1) on the CPU, see :func:`boxes_from_uniforms`.
        size_hw: Height and width of the masks.

    Returns:
        (N, 1, H, W) bool on the CPU.
    """
    # Slices of a numpy array touch the boxes' pixels only: ten times faster than comparing every
    # pixel's coordinates, and numpy's slices cost less than torch's.
    mask_NHW = np.zeros((len(boxes_NK4), *size_hw), dtype=bool)
    for mask_HW, boxes in zip(mask_NHW, boxes_NK4.tolist()):
        for y0, x0, y1, x1 in boxes:
            mask_HW[y0:y1, x0:x1] ^= True
    return torch.from_numpy(mask_NHW).unsqueeze(1)


def box_masks(
    num_masks: int,
    size_hw: tuple[int, int],
    *,
    num_boxes: int = 3,
    area_range: tuple[float, float] = (0.25, 0.5),
    generator: Generator | None = None,
) -> BoolTensor:
    """Draw CutMix masks of several boxes each (French et al., BMVC 2020).

    With the defaults the boxes cover 25 % of the image on average (9 to 46 %).

    Args:
        num_masks: Number of masks, N.
        size_hw: Height and width of the masks.
        num_boxes: Boxes per mask, K; 1 gives CutMix proper.
        area_range: Range of the area fraction p, uniform; see :func:`boxes_from_uniforms`.
        generator: CPU generator; drawn in the order all p, all u, all positions.

    Returns:
        (N, 1, H, W) bool on the CPU, True inside an odd number of boxes.
    """
    uniforms = torch.rand(num_masks * num_boxes * 4, dtype=torch.float64, generator=generator)
    area, aspect, position = uniforms.split([num_masks * num_boxes * n for n in (1, 1, 2)])
    low, high = area_range
    boxes_NK4 = boxes_from_uniforms(
        low + (high - low) * area.view(num_masks, num_boxes),
        aspect.view(num_masks, num_boxes),
        position.view(num_masks, num_boxes, 2),
        size_hw,
    )
    return masks_from_boxes(boxes_NK4, size_hw)


def box_sizes(area: Tensor, aspect: Tensor) -> tuple[LongTensor, LongTensor]:
    """Whole-pixel sizes of boxes.

    Args:
        area: Areas in pixels, float64, any shape.
        aspect: Height over width, broadcastable to ``area``.

    Returns:
        Width floor(sqrt(area / aspect)) and height floor(sqrt(area * aspect)), int64.
    """
    return (area / aspect).sqrt().long(), (area * aspect).sqrt().long()


@functools.lru_cache(maxsize=64)
def _check_fit(
    area: float, aspect_range: tuple[float, float], size_hw: tuple[int, int]
) -> None:  # cached: the same few sizes come in every step
    """Refuse settings whose largest box (almost) never fits, which would be drawn for ever."""
    height, width = size_hw
    aspect = torch.linspace(*aspect_range, 1001, dtype=torch.float64)
    box_w, box_h = box_sizes(torch.tensor(area * height * width, dtype=torch.float64), aspect)
    fitting = (width + 1 - box_w).clamp(min=0) / width * (height + 1 - box_h).clamp(min=0) / height
    if fitting.mean() < _LOWEST_ACCEPTANCE:
        raise ConfigError(
            f"SingleBoxCutMix: boxes of {area:g} of the area with height/width in {aspect_range} "
            f"fit into a {height}x{width} image in {fitting.mean().item():.2%} of the draws, fewer "
            f"than {_LOWEST_ACCEPTANCE:.0%}: lower area_range or widen aspect_range"
        )


def draw_single_boxes(
    num: int,
    size_hw: tuple[int, int],
    *,
    prob: float = 0.5,
    area_range: tuple[float, float] = (0.02, 0.4),
    aspect_range: tuple[float, float] = (0.3, 1 / 0.3),
    generator: Generator | None = None,
) -> LongTensor:
    """Draw one box, or none, for each of ``num`` images.

    The area is drawn once; height/width and corner are drawn again until the box lies inside the
    image. Aspects above 1 are as likely as their length says, so most boxes stand upright.

    The random number of rounds does not touch ``generator``: it is asked for 2 num uniforms and the
    seed of a generator of its own for the rounds.

    Args:
        num: Number of images, N.
        size_hw: Height and width of the images.
        prob: Probability of a box.
        area_range: Range of the area as a fraction of the image's, uniform.
        aspect_range: Range of height/width in pixels, uniform.
        generator: CPU generator.

    Returns:
        (N, 4) int64 corners (y0, x0, y1, x1); all 0 without a box.

    Raises:
        ConfigError: Boxes of that area and shape do not fit into images of that size.
    """
    height, width = size_hw
    _check_fit(area_range[1], tuple(aspect_range), (height, width))
    has_box, area = torch.rand(2, num, dtype=torch.float64, generator=generator)
    seed = torch.randint(2**63 - 1, (1,), generator=generator).item()
    rounds = torch.Generator().manual_seed(seed)
    low, high = area_range
    area_N1 = ((low + (high - low) * area) * height * width)[:, None]
    low, high = aspect_range

    boxes_N4 = torch.zeros(num, 4, dtype=torch.long)
    missing_N = has_box < prob
    while missing_N.any():
        aspect, x, y = torch.rand(3, num, _CANDIDATES, dtype=torch.float64, generator=rounds)
        box_w, box_h = box_sizes(area_N1, low + (high - low) * aspect)
        x, y = (x * width).long(), (y * height).long()
        fits = (x + box_w <= width) & (y + box_h <= height)
        candidates = torch.stack([y, x, y + box_h, x + box_w], dim=-1)
        chosen = fits.byte().argmax(dim=1)  # the first that fits
        found_N4 = candidates[torch.arange(num), chosen]
        found_N = missing_N & fits.any(dim=1)
        boxes_N4 = torch.where(found_N[:, None], found_N4, boxes_N4)
        missing_N = missing_N & ~found_N
    return boxes_N4


@MODELS.register_module()
class CutMix(PairedMix):
    """Pair the unlabelled images of a batch and draw the box masks that mix each pair.

    Args:
        pairing: See :class:`PairedMix`.
        same_image: See :class:`PairedMix`.
        num_boxes: Boxes per mask.
        area_range: Range of the boxes' area fraction, see :func:`box_masks`.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        pairing: str = "halves",
        same_image: bool = False,
        num_boxes: int = 3,
        area_range: tuple[float, float] = (0.25, 0.5),
    ) -> None:
        super().__init__(pairing, same_image)
        if num_boxes < 1:
            raise ConfigError(f"CutMix: num_boxes={num_boxes} must be at least 1")
        if len(area_range) != 2 or not 0 < area_range[0] <= area_range[1] <= 1:
            raise ConfigError(
                f"CutMix: area_range={area_range} must be (low, high), 0 < low <= high <= 1"
            )
        self.num_boxes = num_boxes
        self.area_range = tuple(area_range)

    def draw_masks(self, second: LongTensor, batch: SemiBatch, *_: Any) -> BoolTensor:
        """Draw masks of ``num_boxes`` boxes, see :func:`box_masks`."""
        return box_masks(
            len(second),
            batch.unlabeled.size_hw,
            num_boxes=self.num_boxes,
            area_range=self.area_range,
            generator=batch.generator,
        )


@MODELS.register_module()
class SingleBoxCutMix(PairedMix):
    """Pair the unlabelled images of a batch and draw a single box, or none, that mixes each pair.

    Args:
        pairing: See :class:`PairedMix`.
        same_image: See :class:`PairedMix`.
        prob: Probability of a box; without one the image stays as it is.
        area_range: Range of the box area as a fraction of the image's, uniform.
        aspect_range: Range of height/width of the box in pixels, uniform.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        pairing: str = "permute",
        same_image: bool = False,
        prob: float = 0.5,
        area_range: Sequence[float] = (0.02, 0.4),
        aspect_range: Sequence[float] = (0.3, 1 / 0.3),
    ) -> None:
        super().__init__(pairing, same_image)
        if not 0 <= prob <= 1:
            raise ConfigError(f"SingleBoxCutMix: prob={prob} is not in [0, 1]")
        if len(area_range) != 2 or not 0 < area_range[0] <= area_range[1] < 1:
            raise ConfigError(
                f"SingleBoxCutMix: area_range={area_range} must be (low, high), 0 < low <= high < 1"
            )
        if len(aspect_range) != 2 or not 0 < aspect_range[0] <= aspect_range[1]:
            raise ConfigError(
                f"SingleBoxCutMix: aspect_range={aspect_range} must be (low, high), 0 < low <= high"
            )
        self.prob = prob
        self.area_range = tuple(area_range)
        self.aspect_range = tuple(aspect_range)

    def draw_masks(self, second: LongTensor, batch: SemiBatch, *_: Any) -> BoolTensor:
        """Draw masks of one box or none, see :func:`draw_single_boxes`."""
        size_hw = batch.unlabeled.size_hw
        boxes_N4 = draw_single_boxes(
            len(second),
            size_hw,
            prob=self.prob,
            area_range=self.area_range,
            aspect_range=self.aspect_range,
            generator=batch.generator,
        )
        return masks_from_boxes(boxes_N4[:, None], size_hw)
