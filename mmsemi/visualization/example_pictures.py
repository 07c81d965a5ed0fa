# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""An image beside its truth and its prediction."""

from __future__ import annotations

import io
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from .contact_sheet import paint_mask
from .denormalize import denormalize
from .report import picture_grid

CELL = 220  # px


def example_picture(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, palette: Sequence[Sequence[int]]
) -> bytes:
    """Three pictures side by side as JPEG bytes.

    Args:
        image: (C, H, W) as it was loaded from a file: BGR or other channels, of any range of values.
        truth: Labels (h, w); what is no class is hatched.
        prediction: Labels (h, w).
        palette: Colour of each class.
    """
    pixels = torch.from_numpy(image.astype(np.float32))[None]
    # Nothing has been normalised, and the channels are those of the file.
    shown = denormalize(pixels, SimpleNamespace())[0]
    row = [shown, paint_mask(truth, palette), paint_mask(prediction, palette)]
    picture = picture_grid([row], ["image", "truth", "prediction"], CELL)
    buffer = io.BytesIO()
    # Without thinned colours: the edges of labels stay where they are.
    Image.fromarray(picture).save(buffer, "JPEG", quality=88, subsampling=0)
    return buffer.getvalue()
