# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .augment import CutMix, MixRecipe, StrongPhotometric
from .heads import DeepLabV3PlusHead
from .losses import PixelCrossEntropy, ProbOhemCrossEntropy
from .preprocessor import SemiSegDataPreProcessor
from .segmentors import CPS, SemiSegmentor, Supervised

__all__ = [
    "CPS",
    "CutMix",
    "DeepLabV3PlusHead",
    "MixRecipe",
    "PixelCrossEntropy",
    "ProbOhemCrossEntropy",
    "SemiSegDataPreProcessor",
    "SemiSegmentor",
    "StrongPhotometric",
    "Supervised",
]
