# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Decode heads that mmsegmentation lacks."""

from __future__ import annotations

from .deeplabv3plus_head import DeepLabV3PlusHead

__all__ = ["DeepLabV3PlusHead"]
