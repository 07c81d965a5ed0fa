# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Decode heads that mmsegmentation lacks."""

from __future__ import annotations

from .deeplabv2_head import DeepLabV2Head
from .deeplabv3plus_head import DeepLabV3PlusHead
from .deeplabv3plus_wrn_head import DeepLabV3PlusWRNHead
from .dinov2_dpt_head import DINOv2DPTHead
from .linear_head import LinearHead
from .u2pl_head import U2PLHead

__all__ = [
    "DINOv2DPTHead",
    "DeepLabV2Head",
    "DeepLabV3PlusHead",
    "DeepLabV3PlusWRNHead",
    "LinearHead",
    "U2PLHead",
]
