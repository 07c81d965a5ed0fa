# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""torchvision's colour jitter for labelled images; unlabelled ones get their colours in the step."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image
from torchvision.transforms import ColorJitter as PillowColorJitter

from ...errors import ConfigError


@TRANSFORMS.register_module()
class ColorJitter(BaseTransform):
    """Brightness, contrast, saturation and hue in a random order, as torchvision on Pillow images.

    Required and modified key: ``img``, 8-bit BGR, as ``LoadImageFromFile`` gives it.

    Args:
        brightness: Strength s; the factor is uniform in [max(0, 1 - s), 1 + s].
        contrast: The same.
        saturation: The same.
        hue: Strength s up to 0.5; the shift is uniform in [-s, s] turns.

    Raises:
        ConfigError: A strength is out of range, or an image is no 8-bit colour image.
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
    ) -> None:
        self.strengths = dict(
            brightness=brightness, contrast=contrast, saturation=saturation, hue=hue
        )
        for name, strength in self.strengths.items():
            if not 0 <= strength <= (0.5 if name == "hue" else float("inf")):
                raise ConfigError(
                    f"ColorJitter: {name}={strength} must be at least 0, hue at most 0.5"
                )
        self.jitter = PillowColorJitter(**self.strengths)

    def transform(self, results: dict) -> dict:
        """Change the colours of an image."""
        image = results["img"]
        if image.dtype != np.uint8 or image.shape[2:] != (3,):
            raise ConfigError(
                f"ColorJitter is defined for 8-bit colour images, this one is {image.dtype} "
                f"{image.shape}: take it out of the pipeline"
            )
        jittered = np.asarray(self.jitter(Image.fromarray(image[..., ::-1])))
        results["img"] = np.ascontiguousarray(jittered[..., ::-1])
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self.strengths.items())})"
