# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Batched strong augmentation on tensors: CutMix and photometric operations.

Decisions:

* Every random number comes from the CPU ``torch.Generator`` passed in (None: torch's global CPU
  generator), so the same seed gives the same views on CPU and GPU and there is no state to store.
  Parameters travel to the device in one copy; nothing is read back.
* Every image of a batch has its own parameters. An operation runs on the whole batch and
  ``torch.where`` keeps the images that it was not drawn for: shapes never depend on the draw.
* The number of random numbers drawn depends on the batch size only, so that changing one
  probability or range leaves all other draws as they were.
"""

from __future__ import annotations

from .boxes import SingleBoxCutMix, box_sizes, draw_single_boxes
from .mixing import (
    CutMix,
    MixRecipe,
    PairedMix,
    box_masks,
    boxes_from_uniforms,
    masks_from_boxes,
)
from .photometric import (
    StrongPhotometric,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    gaussian_blur,
    to_grayscale,
)

__all__ = [
    "CutMix",
    "MixRecipe",
    "PairedMix",
    "SingleBoxCutMix",
    "StrongPhotometric",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "box_masks",
    "box_sizes",
    "boxes_from_uniforms",
    "draw_single_boxes",
    "gaussian_blur",
    "masks_from_boxes",
    "to_grayscale",
]
