# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Two crops of one image that share a part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ...errors import ConfigError
from ...structures import CropPair

Corner = tuple[int, int]


@TRANSFORMS.register_module()
class OverlappingCropPair(BaseTransform):
    """Two crops of an unlabelled image whose overlap lies on the grid of the features in both.

    Lai et al., *Semi-supervised Semantic Segmentation with Directional Context-aware Consistency*
    (CAC), CVPR 2021, arXiv 2106.14133, released code. The first crop is anywhere. Second ones are
    drawn likewise, and moved up and left until they are whole strides from the first one, until one
    has an intersection over union within ``iou_range``; after ``max_tries`` the second crop is the
    first one. An image that is smaller than the crop counts as padded at the bottom and right, and
    the overlap leaves the padding out. Each crop is flipped with ``flip_prob``.

    The crops leave as they lie in the image: the preprocessor pads them and the method flips them, in
    its step. Put it last, before ``PackSemiInputs``.

    Required keys: ``img``. Modified: ``img``, now a list of both crops, and ``img_shape``; masks, if
    there are any to look at, are cut as the first crop. Added: ``crop_pair``, a
    :class:`~mmsemi.structures.CropPair`.

    Args:
        crop_size: Height and width, or one number for both; multiples of ``stride``.
        stride: Pixels of the image to a pixel of the features that will be compared.
        iou_range: Least and largest intersection over union of the crops' squares, padding included.
        max_tries: Second crops that are drawn at most.
        flip_prob: Probability of a horizontal flip, of each crop on its own.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        crop_size: int | Sequence[int],
        stride: int = 8,
        iou_range: Sequence[float] = (0.1, 1.0),
        max_tries: int = 50,
        flip_prob: float = 0.5,
    ) -> None:
        sides = (crop_size, crop_size) if isinstance(crop_size, int) else tuple(crop_size)
        if stride < 1 or len(sides) != 2 or any(side < 1 or side % stride for side in sides):
            raise ConfigError(
                f"OverlappingCropPair: crop_size={crop_size} must be (height, width), multiples of "
                f"stride={stride}"
            )
        if len(iou_range) != 2 or not 0 < iou_range[0] <= iou_range[1] <= 1:
            raise ConfigError(
                f"OverlappingCropPair: iou_range={iou_range} must be (low, high), 0 < low <= high <= 1"
            )
        if max_tries < 0 or not 0 <= flip_prob <= 1:
            raise ConfigError(
                f"OverlappingCropPair: max_tries={max_tries} must be at least 0 and "
                f"flip_prob={flip_prob} in [0, 1]"
            )
        self.crop_size, self.stride, self.iou_range = sides, stride, tuple(iou_range)
        self.max_tries, self.flip_prob = max_tries, flip_prob

    def _draw_corner(self, size_hw: Sequence[int]) -> Corner:
        """Upper left corner of a crop, anywhere in the padded image."""
        spare = (max(0, size - crop) for size, crop in zip(size_hw, self.crop_size))
        return tuple(int(np.random.randint(most + 1)) for most in spare)

    def snap(self, first: Corner, drawn: Corner) -> Corner:
        """The corner at most a stride up and left that is whole strides from the first crop's."""
        snapped = (a + (b - a) // self.stride * self.stride for a, b in zip(first, drawn))
        return tuple(s if s >= 0 else s + self.stride for s in snapped)

    def iou(self, first: Corner, second: Corner) -> float:
        """Intersection over union of the crops at two corners, padding included."""
        sides = [max(0, c - abs(b - a)) for a, b, c in zip(first, second, self.crop_size)]
        shared = sides[0] * sides[1]
        return shared / (2 * self.crop_size[0] * self.crop_size[1] - shared)

    def overlap(self, first: Corner, second: Corner, size_hw: Sequence[int]) -> tuple[int, ...]:
        """(top, bottom, left, right) of the overlap in the first crop, in feature pixels.

        Cells that hold any padding are left out.
        """
        edges = []
        for a, b, crop, size in zip(first, second, self.crop_size, size_hw):
            shift = (b - a) // self.stride
            low, high = max(0, shift), min(crop // self.stride + min(0, shift), size // self.stride)
            edges += [low, max(low, high)]
        return tuple(edges)

    def _draw_second(self, first: Corner, size_hw: Sequence[int]) -> Corner:
        low, high = self.iou_range
        for _ in range(self.max_tries):
            second = self.snap(first, self._draw_corner(size_hw))
            if low <= self.iou(first, second) <= high:
                return second
        return first

    def transform(self, results: dict) -> dict:
        """Cut both crops out of an image."""
        image = results["img"]
        size_hw = image.shape[:2]
        first = self._draw_corner(size_hw)
        second = self._draw_second(first, size_hw)
        flips = tuple(bool(draw < self.flip_prob) for draw in np.random.rand(2))
        windows = [
            tuple(slice(a, a + c) for a, c in zip(x, self.crop_size)) for x in (first, second)
        ]
        results["img"] = [image[window] for window in windows]
        for key in results.get("seg_fields", ()):
            results[key] = results[key][windows[0]]
        results["img_shape"] = results["img"][0].shape[:2]
        results["crop_pair"] = CropPair(
            self.overlap(first, second, size_hw),
            self.overlap(second, first, size_hw),
            flips,
            self.stride,
        )
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(crop_size={self.crop_size}, stride={self.stride}, "
            f"iou_range={self.iou_range}, max_tries={self.max_tries}, flip_prob={self.flip_prob})"
        )
