# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .color_jitter import ColorJitter
from .crop_pair import OverlappingCropPair
from .formatting import PackSemiInputs
from .image_labels import AddImageLabels
from .loading import LoadCheckedAnnotations, LoadPseudoLabel
from .resize import RandomCoveringResize, RandomRelativeResize

__all__ = [
    "AddImageLabels",
    "ColorJitter",
    "LoadCheckedAnnotations",
    "LoadPseudoLabel",
    "OverlappingCropPair",
    "PackSemiInputs",
    "RandomCoveringResize",
    "RandomRelativeResize",
]
