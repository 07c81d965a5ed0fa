# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Cutout: a box of noise in an image, whose labels are then ignored.

DeVries and Taylor, https://arxiv.org/abs/1708.04552, in the form of ST++ (Yang et al., CVPR 2022,
https://arxiv.org/abs/2106.05095). Shape suffixes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from torch import BoolTensor, Generator, LongTensor, Tensor

from ...errors import ConfigError
from .cutmix import masks_from_boxes

#: Candidates for each box. Without a limit their number would depend on the draw; none of so many
#: fits with a probability of 1e-9.
_TRIES = 64


@MODELS.register_module()
class Cutout:
    """A box in each image, with a probability; everything of a box that does not fit is drawn again.

    Args:
        p: Probability of a box.
        area: Range of its share of the image's area, uniform.
        aspect: Range of its height / width, uniform.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        p: float = 0.5,
        area: Sequence[float] = (0.02, 0.4),
        aspect: Sequence[float] = (0.3, 1 / 0.3),
    ) -> None:
        if not 0 <= p <= 1:
            raise ConfigError(f"Cutout: p={p} is not in [0, 1]")
        if len(area) != 2 or not 0 < area[0] <= area[1] <= 1:
            raise ConfigError(f"Cutout: area={area} must be (low, high), 0 < low <= high <= 1")
        if len(aspect) != 2 or not 0 < aspect[0] <= aspect[1]:
            raise ConfigError(f"Cutout: aspect={aspect} must be (low, high), 0 < low <= high")
        self.p, self.area, self.aspect = p, tuple(area), tuple(aspect)

    def sides(self, area: Tensor, aspect: Tensor, size_hw: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Height and width of boxes, whole pixels, by their share of the area and height / width."""
        pixels = area.double() * size_hw[0] * size_hw[1]
        # The tolerance keeps the root of a square number whole.
        height, width = (pixels * aspect).sqrt(), (pixels / aspect).sqrt()
        return (height + 1e-9).long(), (width + 1e-9).long()

    def boxes(
        self, num_images: int, size_hw: Sequence[int], generator: Generator | None
    ) -> LongTensor:
        """(N, 4) corners (y0, x0, y1, x1) of the boxes; all 0 where an image has none."""
        height, width = size_hw
        drawn = torch.rand(num_images, generator=generator) < self.p
        u = torch.rand(4, num_images, _TRIES, generator=generator)
        area, aspect = (
            lo + (hi - lo) * u[i] for i, (lo, hi) in enumerate((self.area, self.aspect))
        )
        h, w = self.sides(area, aspect, size_hw)
        top, left = (u[2] * height).long(), (u[3] * width).long()
        fits = (top + h <= height) & (left + w <= width)
        corners = torch.stack([top, left, top + h, left + w], -1)
        first = fits.long().argmax(1)[:, None, None].expand(-1, 1, 4)
        has_box = drawn & fits.any(1)
        return corners.gather(1, first)[:, 0] * has_box[:, None]

    def draw(self, images_NCHW: Tensor, generator: Generator | None) -> tuple[BoolTensor, Tensor]:
        """Boxes and noise for a batch.

        Args:
            images_NCHW: The batch, for its shape and device.
            generator: CPU generator.

        Returns:
            The boxes (N, H, W), and noise (N, C, H, W) float, whole numbers in [0, 254].
        """
        size_hw = images_NCHW.shape[-2:]
        mask = masks_from_boxes(self.boxes(len(images_NCHW), size_hw, generator)[:, None], size_hw)[
            :, 0
        ]
        noise = torch.randint(0, 255, images_NCHW.shape, generator=generator, dtype=torch.uint8)
        device = images_NCHW.device
        return (
            mask.to(device, non_blocking=True),
            noise.to(device, non_blocking=True).float(),
        )
