# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Decode heads that mmsegmentation lacks."""

from __future__ import annotations

from .deeplabv2_head import DeepLabV2Head
from .deeplabv3plus_head import DeepLabV3PlusHead
from .deeplabv3plus_wrn_head import DeepLabV3PlusWRNHead
from .u2pl_head import U2PLHead

__all__ = ["DeepLabV2Head", "DeepLabV3PlusHead", "DeepLabV3PlusWRNHead", "U2PLHead"]
