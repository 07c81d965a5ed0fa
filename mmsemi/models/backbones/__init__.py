# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Backbones that mmsegmentation lacks."""

from __future__ import annotations

from .ceil_pool_resnet import CeilPoolResNet
from .dinov2 import DINOv2
from .dinov3 import DINOv3
from .wider_resnet38 import WiderResNet38

__all__ = ["CeilPoolResNet", "DINOv2", "DINOv3", "WiderResNet38"]
