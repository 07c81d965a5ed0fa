# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .formatting import PackSemiInputs
from .loading import LoadCheckedAnnotations
from .resize import RandomRelativeResize

__all__ = ["LoadCheckedAnnotations", "PackSemiInputs", "RandomRelativeResize"]
