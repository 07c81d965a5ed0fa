# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .base import SemiSegmentor
from .cps import CPS
from .supervised import Supervised

__all__ = ["CPS", "SemiSegmentor", "Supervised"]
