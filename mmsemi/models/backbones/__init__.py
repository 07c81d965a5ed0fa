# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Backbones that mmsegmentation lacks."""

from __future__ import annotations

from .wider_resnet38 import WiderResNet38

__all__ = ["WiderResNet38"]
