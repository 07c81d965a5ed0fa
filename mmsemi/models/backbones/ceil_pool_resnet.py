# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""mmseg's ResNet with the max-pool of Caffe's."""

from __future__ import annotations

from typing import Any

from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS


@MODELS.register_module()
class CeilPoolResNet(ResNet):
    """ResNet whose max-pool rounds its size up, as the released DeepLabv2 of AdvSemiSeg and s4GAN.

    The grid of an image of odd size stays as it is; at even sizes it is one row and column larger: 33x65
    instead of 32x64 for 256x512 at output stride 8, or for 512x1024 at 16. The weights are the same.

    Args:
        kwargs: Of mmseg's ``ResNet``; ``deep_stem=True`` makes it ``ResNetV1c``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.maxpool.ceil_mode = True
