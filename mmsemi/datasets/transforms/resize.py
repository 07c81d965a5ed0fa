# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Random resizing relative to each image's own size, or to the crop that it must fill."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.registry import TRANSFORMS

from ...errors import ConfigError


@TRANSFORMS.register_module()
class RandomRelativeResize(BaseTransform):
    """Resize an image and its mask by a random factor of its own size, keeping the aspect ratio.

    The new long side is a whole number, uniform from floor(low L) to floor(high L) for an image
    with the long side L; the short side follows, rounded half up. This is the resize of UniMatch
    and the methods that build on it. The stock ``RandomResize`` scales one size that is the same
    for all images, ``Resize(scale_factor=...)`` is not random, and ``RandomChoiceResize`` takes
    sizes from a list.

    The image is resized bilinearly, the mask by nearest neighbour. With ``backend='cv2'``, the
    default, four pixels are read for each new one however far the image shrinks; ``'pillow'``, the
    library of the released code, averages over all the pixels that a new one covers, which is
    slower and smoother.

    Required keys: ``img``, ``img_shape``, and ``gt_seg_map`` with ``seg_fields`` if there is a
    mask. Modified and added keys are those of ``Resize``.

    Args:
        ratio_range: Lowest and highest factor.
        resize_type: Transform that resizes to its ``scale`` (width, height).
        resize_kwargs: Its arguments, e.g. ``backend`` and ``interpolation``.

    Raises:
        ConfigError: ``ratio_range`` is not a range, or an argument is decided here.
    """

    def __init__(
        self,
        ratio_range: Sequence[float] = (0.5, 2.0),
        resize_type: str = "Resize",
        **resize_kwargs,
    ) -> None:
        if len(ratio_range) != 2 or not 0 < ratio_range[0] <= ratio_range[1]:
            raise ConfigError(
                f"RandomRelativeResize: ratio_range={ratio_range} must be (low, high), "
                "0 < low <= high"
            )
        for key in ("scale", "scale_factor", "keep_ratio"):
            if key in resize_kwargs:
                raise ConfigError(
                    f"RandomRelativeResize: {key} follows from the drawn size, remove it"
                )
        self.ratio_range = tuple(ratio_range)
        # Both sides are given exactly: the stock keep_ratio would round them once more.
        self.resize_cfg = dict(type=resize_type, **resize_kwargs)
        self.resize = TRANSFORMS.build(dict(scale=0, keep_ratio=False, **self.resize_cfg))

    @cache_randomness
    def _draw_long_side(self, long_side: int) -> int:
        low, high = (int(ratio * long_side) for ratio in self.ratio_range)
        return max(1, np.random.randint(low, high + 1))

    def transform(self, results: dict) -> dict:
        """Resize image and mask of a sample."""
        sides = height, width = results["img_shape"][:2]
        new_long = self._draw_long_side(max(sides))
        new_short = max(1, int(min(sides) * new_long / max(sides) + 0.5))
        self.resize.scale = (new_short, new_long) if height > width else (new_long, new_short)
        return self.resize(results)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(ratio_range={self.ratio_range}, resize_cfg={self.resize_cfg})"
        )


@TRANSFORMS.register_module()
class RandomCoveringResize(BaseTransform):
    """Resize by a random factor with which the image covers the crop, so that nothing is padded.

    Factors are drawn until one fits; after ``max_tries`` image and mask are resized straight to the
    crop, which changes their aspect ratio. A side s becomes floor(factor s + 1/2). For the ground
    truth that AdvSemiSeg shows its discriminator (arXiv 1802.07934, released code): padding would
    tell it from a prediction.

    Required keys: ``img``, ``img_shape``, and ``gt_seg_map`` with ``seg_fields`` if there is a
    mask. Modified and added keys are those of ``Resize``; follow it with
    ``RandomCrop(crop_size=crop_size)``.

    Args:
        ratios: Factors, equally likely.
        crop_size: Height and width of the crop, or one number for both.
        max_tries: Factors to draw at most.
        resize_kwargs: Further arguments of ``Resize``, e.g. ``backend`` and ``interpolation``.

    Raises:
        ConfigError: An argument is out of range, or decided here.
    """

    def __init__(
        self,
        ratios: Sequence[float],
        crop_size: int | Sequence[int],
        max_tries: int = 10,
        **resize_kwargs,
    ) -> None:
        crop_size = (crop_size, crop_size) if isinstance(crop_size, int) else tuple(crop_size)
        if not len(ratios) or min(ratios) <= 0:
            raise ConfigError(
                f"RandomCoveringResize: ratios={ratios} must be one or more factors above 0"
            )
        if len(crop_size) != 2 or min(crop_size) < 1 or max_tries < 1:
            raise ConfigError(
                f"RandomCoveringResize: crop_size={crop_size} must be (height, width) and "
                f"max_tries={max_tries} at least 1"
            )
        for key in ("scale", "scale_factor", "keep_ratio"):
            if key in resize_kwargs:
                raise ConfigError(
                    f"RandomCoveringResize: {key} follows from the drawn factor, remove it"
                )
        self.ratios, self.crop_size, self.max_tries = list(ratios), crop_size, max_tries
        self.resize = TRANSFORMS.build(
            dict(type="Resize", scale=0, keep_ratio=False, **resize_kwargs)
        )

    @cache_randomness
    def _draw_factors(self) -> list[float]:
        return np.random.choice(self.ratios, self.max_tries).tolist()

    def transform(self, results: dict) -> dict:
        """Resize image and mask of a sample."""
        height, width = results["img_shape"][:2]
        sizes = [(int(f * height + 0.5), int(f * width + 0.5)) for f in self._draw_factors()]
        crop_height, crop_width = self.crop_size
        covering = (size for size in sizes if size[0] >= crop_height and size[1] >= crop_width)
        new_height, new_width = next(covering, self.crop_size)
        self.resize.scale = (new_width, new_height)
        return self.resize(results)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(ratios={self.ratios}, crop_size={self.crop_size}, "
            f"max_tries={self.max_tries})"
        )
