# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .base import SemiSegmentor
from .cps import CPS
from .fixmatch import FixMatch
from .mean_teacher import CutMixMeanTeacher, MeanTeacher
from .supervised import Supervised
from .unimatch import UniMatch

__all__ = [
    "CPS",
    "CutMixMeanTeacher",
    "FixMatch",
    "MeanTeacher",
    "SemiSegmentor",
    "Supervised",
    "UniMatch",
]
