# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Views of images, batched on the device: photometric operations, and mixes of several images.

Decisions:

* Every random number comes from the CPU ``torch.Generator`` of the batch (None: torch's global CPU
  generator), so the same seed gives the same views on CPU and GPU and there is no state to store.
  Parameters travel to the device in one copy; nothing is read back.
* Every image of a batch has its own parameters. Shapes never depend on the draw: an operation runs
  on the whole batch and ``torch.where`` keeps the images that it was not drawn for, or the host,
  which has drawn, runs it on single images.
* The number of random numbers drawn depends on the batch size only, so that changing one
  probability or range leaves all other draws as they were.
"""

from __future__ import annotations

from .classmix import ClassMix
from .cutmix import CutMix, SingleBoxCutMix
from .cutout import Cutout
from .half_cutmix import HalfCutMix
from .label_paste import LabelPaste
from .mixing import MixRecipe, PairedMix, Paste
from .photometric import StrongPhotometric
from .random_intensity import RandomIntensity

__all__ = [
    "ClassMix",
    "CutMix",
    "Cutout",
    "HalfCutMix",
    "LabelPaste",
    "MixRecipe",
    "PairedMix",
    "Paste",
    "RandomIntensity",
    "SingleBoxCutMix",
    "StrongPhotometric",
]
