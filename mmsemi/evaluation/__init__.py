# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Metrics with details of classes and images, image-level scores, their fusion with segmentations."""

from .class_iou_metric import ClassIoUMetric
from .gated_iou_metric import GatedIoUMetric
from .image_level_gate import ImageLevelGate, gated_labels
from .image_level_metric import ImageLevelMetric
from .result_files import ResultFiles
from .score_table import ScoreTable, image_id
from .segmentation_loss import SegmentationLoss

__all__ = [
    "ClassIoUMetric",
    "GatedIoUMetric",
    "ImageLevelGate",
    "ImageLevelMetric",
    "ResultFiles",
    "ScoreTable",
    "SegmentationLoss",
    "gated_labels",
    "image_id",
]
