# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""mmseg's mIoU with all that a report shows: IoU of each class, confusions, the best and worst images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from ..errors import ConfigError, DataError
from .predictions import label_map

VOID = 255
#: Longer side of the small pictures that are kept of an image, in pixels, at most.
PICTURE_SIDE = 256
#: After so many images the pictures that are neither the best nor the worst go.
_PRUNE_EVERY = 16


@dataclass
class ImageScore:
    """What an evaluation keeps of one image: a few hundred bytes.

    Attributes:
        pairs: (P,) int64, ``truth * num_classes + prediction`` of each pair of classes that occurs.
        counts: (P,) int64, pixels of each pair; pixels without a label are left out.
        miou: Mean IoU in percent over the classes that the image has or is predicted to have; NaN
            for an image without a labelled pixel.
        path: Of the image, '' if unknown.
        pictures: Of the best and worst images only: ``image`` (C, h, w) as it was loaded, ``truth`` and
            ``prediction`` (h, w) uint8 with 255 for void; strided to at most ``PICTURE_SIDE``.
    """

    pairs: np.ndarray
    counts: np.ndarray
    miou: float
    path: str = ""
    pictures: dict[str, np.ndarray] | None = None


@dataclass(frozen=True)
class EvaluationDetails:
    """What an evaluation found beside its metrics, over all processes.

    Attributes:
        classes: Class names.
        confusion: (K, K) int64 pixel counts, rows are truth, columns predictions.
        images: In the order of the data set.
    """

    classes: tuple[str, ...]
    confusion: np.ndarray
    images: list[ImageScore]


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union in percent of each class; NaN if it neither occurs nor is predicted.

    Args:
        confusion: Pixel counts (classes, classes), rows are truth, columns predictions.
    """
    hit = np.diag(confusion).astype(float)
    union = confusion.sum(0) + confusion.sum(1) - hit
    return 100 * np.divide(hit, union, out=np.full_like(hit, np.nan), where=union > 0)


def count_pairs(
    prediction_HW: Tensor, truth_HW: Tensor, num_classes: int, ignore_index: int = VOID
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of true and predicted class in an image, as in :class:`ImageScore`.

    Args:
        prediction_HW: Integer labels.
        truth_HW: Integer labels of the same dtype, on the same device.
        num_classes: K.
        ignore_index: Value of pixels that do not count.

    Returns:
        Pairs and their pixel counts.

    Raises:
        ConfigError: The prediction is of another size, or has a class that the data set lacks.
        DataError: A labelled pixel has a value that is no class.
    """
    if prediction_HW.shape != truth_HW.shape:
        raise ConfigError(
            f"a prediction is {tuple(prediction_HW.shape)} pixels high and wide, its mask "
            f"{tuple(truth_HW.shape)}: load masks at the original size (LoadAnnotations after Resize)"
        )
    if prediction_HW.numel() and int(prediction_HW.max()) >= num_classes:
        raise ConfigError(
            f"the model predicts class {int(prediction_HW.max())}, the data set has {num_classes} "
            f"classes: set decode_head.num_classes={num_classes}"
        )
    codes_HW = truth_HW.long() * num_classes + prediction_HW.long()
    counts = torch.bincount(codes_HW[truth_HW != ignore_index], minlength=num_classes**2)
    counts = counts.cpu().numpy()
    pairs = np.flatnonzero(counts)
    if len(counts) > num_classes**2:
        raise DataError(
            f"a mask has the value {pairs[-1] // num_classes}, the data set has {num_classes} "
            f"classes (ignore_index is {ignore_index})"
        )
    return pairs, counts[pairs]


def confusion_of(images: Sequence[ImageScore], num_classes: int) -> np.ndarray:
    """Pixel counts (K, K) int64 of all images together, rows are truth."""
    confusion = np.zeros(num_classes**2, np.int64)
    for image in images:
        confusion[image.pairs] += image.counts
    return confusion.reshape(num_classes, num_classes)


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric`` that also logs ``IoU.<class>`` and keeps what a report shows.

    The printed table and metrics are those of ``IoUMetric``, from exact counts (it sums 32-bit floats).
    ``details`` has the confusion matrix, the score of each image, and small pictures of the best and the
    worst ones, after an evaluation on the main process; nothing is predicted or gathered for them beside
    what the evaluation does anyway.

    Args:
        num_examples: Images to keep pictures of: so many of the best and so many of the worst.
        **settings: Arguments of ``IoUMetric``.
    """

    def __init__(self, num_examples: int = 4, **settings: Any) -> None:
        super().__init__(**settings)
        if num_examples < 0:
            raise ConfigError(f"ClassIoUMetric.num_examples={num_examples} must not be negative")
        self.num_examples = num_examples
        self.details: EvaluationDetails | None = None

    @staticmethod
    def intersect_and_union(
        pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int
    ) -> ImageScore:
        """Overrides what the stock class keeps of an image."""
        pairs, counts = count_pairs(pred_label, label, num_classes, ignore_index)
        image = ImageScore(pairs, counts, math.nan)
        iou = class_iou(confusion_of([image], num_classes))
        if len(pairs):
            image.miou = float(np.nanmean(iou))
        return image

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count a batch; ``data_batch['inputs']``, if it is there, has the images for the pictures."""
        super().process(data_batch, data_samples)
        if self.format_only:
            return
        inputs = data_batch.get("inputs") if isinstance(data_batch, Mapping) else None
        added = self.results[-len(data_samples) :] if len(data_samples) else []
        for number, (image, sample) in enumerate(zip(added, data_samples)):
            image.path = str(sample.get("img_path") or "")
            if self.num_examples and inputs is not None and len(inputs) == len(added):
                image.pictures = _pictures(inputs[number], sample, self.ignore_index)
        if len(self.results) % _PRUNE_EVERY < len(added):
            self._prune()

    def _prune(self) -> None:
        """Drop the pictures of all but the best and the worst images so far."""
        shown = [one for one in self.results if one.pictures is not None]
        best, worst = best_and_worst(shown, self.num_examples)
        kept = {id(one) for one in [*best, *worst]}
        for one in shown:
            if id(one) not in kept:
                one.pictures = None

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather from all processes, and compute."""
        self.details = None
        if not self.format_only:
            self._prune()
        return super().evaluate(size)

    def compute_metrics(self, results: list[ImageScore]) -> dict[str, float]:
        """mmseg's metrics, and ``IoU.<class>`` in percent of each class that occurs or is predicted."""
        if self.format_only:
            return super().compute_metrics(results)
        classes = tuple(self.dataset_meta["classes"])
        confusion = confusion_of(results, len(classes))
        self.details = EvaluationDetails(classes, confusion, results)
        hit, truth, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
        areas = (hit, truth + predicted - hit, predicted, truth)
        metrics = super().compute_metrics([tuple(torch.from_numpy(a.astype(float)) for a in areas)])
        for name, iou in zip(classes, class_iou(confusion).tolist()):
            if not math.isnan(iou):
                metrics[f"IoU.{name}"] = round(iou, 2)
        return metrics


def best_and_worst(
    images: Sequence[ImageScore], count: int
) -> tuple[list[ImageScore], list[ImageScore]]:
    """The images with the highest mean IoU, best first, and those with the lowest, worst first.

    No image is in both; ties keep the order of the data set.
    """
    scored = sorted((one for one in images if not math.isnan(one.miou)), key=lambda one: one.miou)
    worst = scored[: min(count, (len(scored) + 1) // 2)]
    rest = scored[len(worst) :]
    return sorted(rest[max(0, len(rest) - count) :], key=lambda one: -one.miou), worst


def _pictures(image: Any, sample: Mapping, ignore_index: int) -> dict[str, np.ndarray] | None:
    """Small copies of an image, its truth and its prediction; None of inputs that are no image."""
    if not isinstance(image, Tensor) or image.ndim != 3:  # views of test-time augmentation
        return None
    labels = {}
    for key, name in (("gt_sem_seg", "truth"), ("pred_sem_seg", "prediction")):
        small = _strided(label_map(sample, key))
        labels[name] = small.masked_fill(small == ignore_index, VOID).byte().cpu().numpy().copy()
    return dict(image=_strided(image).cpu().numpy().copy(), **labels)


def _strided(x: Tensor) -> Tensor:
    step = max(1, math.ceil(max(x.shape[-2:]) / PICTURE_SIDE))
    return x[..., ::step, ::step]
