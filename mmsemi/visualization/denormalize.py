# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""From what a network is given back to pictures."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn


def denormalize(x_NCHW: Tensor, preprocessor: nn.Module) -> np.ndarray:
    """Normalised images as (N, H, W, 3) uint8 RGB; other than three channels show the first one.

    Images whose values are not those of 8 bits are stretched: the preprocessor's ``value_range``, or
    the darkest and brightest value of each, become black and white.
    """
    x = x_NCHW.detach().float()
    if getattr(preprocessor, "_enable_normalize", False):
        x = x * preprocessor.std + preprocessor.mean
    # The OneDL fork of the stock class has this flag under another name.
    own = getattr(preprocessor, "_channel_conversion", False)
    if x.shape[1] != 3:
        x = x[:, :1].expand(-1, 3, -1, -1)
    elif not getattr(preprocessor, "channel_conversion", own):
        x = x.flip(1)  # files are read as BGR
    value_range = getattr(preprocessor, "value_range", None)
    if value_range is not None:
        low, high = value_range
        x = (x - low) / (high - low) * 255
    elif x.numel() and (x.amax() > 256 or x.amin() < -1 or x.amax() <= 1):
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        x = (x - low) / (high - low).clamp(min=1e-6) * 255
    return x.round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
