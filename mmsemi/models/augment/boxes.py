# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CutMix with at most one box a mask, as UniMatch draws it.

Yang et al., "Revisiting weak-to-strong consistency in semi-supervised semantic segmentation", CVPR
2023 (arXiv 2208.09910).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from torch import BoolTensor, Generator, LongTensor, Tensor

from .mixing import PairedMix, masks_from_boxes

# Most boxes are found in the first round: a candidate fits with probability 0.07 to 0.6.
_CANDIDATES = 32
_LOWEST_ACCEPTANCE = 0.01


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
        raise ValueError(
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
        ValueError: Boxes of that area and shape do not fit into images of that size.
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
class SingleBoxCutMix(PairedMix):
    """Pair the unlabelled images of a batch and draw a single box, or none, that mixes each pair.

    Args:
        pairing: See :class:`PairedMix`.
        same_image: See :class:`PairedMix`.
        prob: Probability of a box; without one the image stays as it is.
        area_range: Range of the box area as a fraction of the image's, uniform.
        aspect_range: Range of height/width of the box in pixels, uniform.

    Raises:
        ValueError: An argument is out of its range.
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
            raise ValueError(f"SingleBoxCutMix: prob={prob} is not in [0, 1]")
        if len(area_range) != 2 or not 0 < area_range[0] <= area_range[1] < 1:
            raise ValueError(
                f"SingleBoxCutMix: area_range={area_range} must be (low, high), 0 < low <= high < 1"
            )
        if len(aspect_range) != 2 or not 0 < aspect_range[0] <= aspect_range[1]:
            raise ValueError(
                f"SingleBoxCutMix: aspect_range={aspect_range} must be (low, high), 0 < low <= high"
            )
        self.prob = prob
        self.area_range = tuple(area_range)
        self.aspect_range = tuple(aspect_range)

    def draw_masks(
        self, num: int, size_hw: tuple[int, int], generator: Generator | None = None
    ) -> BoolTensor:
        """Draw ``num`` masks, see :func:`draw_single_boxes`."""
        boxes_N4 = draw_single_boxes(
            num,
            size_hw,
            prob=self.prob,
            area_range=self.area_range,
            aspect_range=self.aspect_range,
            generator=generator,
        )
        return masks_from_boxes(boxes_N4[:, None], size_hw)
