# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .advsemiseg import AdvSemiSeg
from .augseg import AugSeg
from .base import SemiSegmentor
from .cac import CAC
from .cps import CPS
from .cutmix_mean_teacher import CutMixMeanTeacher
from .fixmatch import FixMatch
from .mean_teacher import MeanTeacher
from .patch_grid import PatchGridEncoderDecoder
from .prevmatch import PrevFixMatch, PrevMatch
from .probability_windows import ProbabilityWindowEncoderDecoder
from .s4gan import S4GAN
from .self_training import SelfTraining
from .supervised import Supervised
from .u2pl import U2PL
from .unimatch import UniMatch
from .unimatch_v2 import UniMatchV2

__all__ = [
    "CAC",
    "CPS",
    "S4GAN",
    "U2PL",
    "AdvSemiSeg",
    "AugSeg",
    "CutMixMeanTeacher",
    "FixMatch",
    "MeanTeacher",
    "PatchGridEncoderDecoder",
    "PrevFixMatch",
    "PrevMatch",
    "ProbabilityWindowEncoderDecoder",
    "SelfTraining",
    "SemiSegmentor",
    "Supervised",
    "UniMatch",
    "UniMatchV2",
]
