# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .camvid import CamVidDataset
from .checks import check_at_start
from .coco import COCO81Dataset
from .pair_list import PairListDataset
from .pseudo_labels import PseudoLabelDataset
from .samplers import Draw, MultiSourceSampler
from .semi_dataset import SemiDataset
from .shapes import ShapesDataset
from .splits import CountSplit, ListSplit, OverlappingPart, PublishedSplit, RatioSplit
from .transforms import (
    AddImageLabels,
    LoadCheckedAnnotations,
    LoadPseudoLabel,
    PackSemiInputs,
    RandomCoveringResize,
    RandomRelativeResize,
)
from .unlabeled import UnlabeledDataset

__all__ = [
    "AddImageLabels",
    "COCO81Dataset",
    "CamVidDataset",
    "CountSplit",
    "Draw",
    "ListSplit",
    "LoadCheckedAnnotations",
    "LoadPseudoLabel",
    "MultiSourceSampler",
    "OverlappingPart",
    "PackSemiInputs",
    "PairListDataset",
    "PseudoLabelDataset",
    "PublishedSplit",
    "RandomCoveringResize",
    "RandomRelativeResize",
    "RatioSplit",
    "SemiDataset",
    "ShapesDataset",
    "UnlabeledDataset",
    "check_at_start",
]
