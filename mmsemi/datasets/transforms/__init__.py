# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .formatting import PackSemiInputs
from .loading import LoadCheckedAnnotations

__all__ = ["LoadCheckedAnnotations", "PackSemiInputs"]
