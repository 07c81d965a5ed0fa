# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .augment import CutMix, MixRecipe, SingleBoxCutMix, StrongPhotometric
from .heads import DeepLabV3PlusHead
from .losses import PixelCrossEntropy, ProbOhemCrossEntropy
from .preprocessor import SemiSegDataPreProcessor
from .segmentors import (
    CPS,
    CutMixMeanTeacher,
    FixMatch,
    MeanTeacher,
    SemiSegmentor,
    Supervised,
    UniMatch,
)

__all__ = [
    "CPS",
    "CutMix",
    "CutMixMeanTeacher",
    "DeepLabV3PlusHead",
    "FixMatch",
    "MeanTeacher",
    "MixRecipe",
    "PixelCrossEntropy",
    "ProbOhemCrossEntropy",
    "SemiSegDataPreProcessor",
    "SemiSegmentor",
    "SingleBoxCutMix",
    "StrongPhotometric",
    "Supervised",
    "UniMatch",
]
