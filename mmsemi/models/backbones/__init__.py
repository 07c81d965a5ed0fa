# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Backbones that mmsegmentation lacks."""

from __future__ import annotations

from .ceil_pool_resnet import CeilPoolResNet
from .wider_resnet38 import WiderResNet38

__all__ = ["CeilPoolResNet", "WiderResNet38"]
