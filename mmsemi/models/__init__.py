# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .backbones import DINOv2, DINOv3, WiderResNet38
from .classifiers import MLMTClassifier
from .discriminators import FCDiscriminator, S4GANDiscriminator
from .ema import EMATeacher
from .heads import (
    DeepLabV2Head,
    DeepLabV3PlusHead,
    DeepLabV3PlusWRNHead,
    DINOv2DPTHead,
    LinearHead,
    U2PLHead,
)
from .losses import PixelCrossEntropy, ProbOhemCrossEntropy
from .preprocessor import SemiSegDataPreProcessor
from .segmentors import (
    CAC,
    CPS,
    U2PL,
    AugSeg,
    CutMixMeanTeacher,
    FixMatch,
    MeanTeacher,
    PrevFixMatch,
    PrevMatch,
    SelfTraining,
    SemiSegmentor,
    Supervised,
    UniMatch,
    UniMatchV2,
)
from .views import (
    ClassMix,
    CutMix,
    Cutout,
    HalfCutMix,
    LabelPaste,
    MixRecipe,
    RandomIntensity,
    SingleBoxCutMix,
    StrongPhotometric,
)

__all__ = [
    "AugSeg",
    "CAC",
    "CPS",
    "ClassMix",
    "CutMix",
    "CutMixMeanTeacher",
    "Cutout",
    "DINOv2",
    "DINOv2DPTHead",
    "DINOv3",
    "DeepLabV2Head",
    "DeepLabV3PlusHead",
    "DeepLabV3PlusWRNHead",
    "FCDiscriminator",
    "EMATeacher",
    "FixMatch",
    "HalfCutMix",
    "LabelPaste",
    "LinearHead",
    "MLMTClassifier",
    "MeanTeacher",
    "MixRecipe",
    "PixelCrossEntropy",
    "PrevFixMatch",
    "PrevMatch",
    "ProbOhemCrossEntropy",
    "RandomIntensity",
    "S4GANDiscriminator",
    "SemiSegDataPreProcessor",
    "SelfTraining",
    "SemiSegmentor",
    "SingleBoxCutMix",
    "StrongPhotometric",
    "Supervised",
    "U2PL",
    "U2PLHead",
    "UniMatch",
    "UniMatchV2",
    "WiderResNet38",
]
