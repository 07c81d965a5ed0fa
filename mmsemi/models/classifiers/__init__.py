# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .mlmt import MLMTClassifier

__all__ = ["MLMTClassifier"]
