# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .crop_pair import OverlappingCropPair
from .formatting import PackSemiInputs
from .image_labels import AddImageLabels
from .loading import LoadCheckedAnnotations
from .resize import RandomCoveringResize, RandomRelativeResize

__all__ = [
    "AddImageLabels",
    "LoadCheckedAnnotations",
    "OverlappingCropPair",
    "PackSemiInputs",
    "RandomCoveringResize",
    "RandomRelativeResize",
]
