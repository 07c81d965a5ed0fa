# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The classes of labelled images as targets of a multi-label classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from ...errors import DataError


def image_targets(
    samples: Sequence[SegDataSample], num_classes: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Classes of each image as 0 and 1 (N, C), and whether the image has any label (N,) bool.

    Args:
        samples: With ``image_labels`` in their metainfo, the classes that an image shows.
        num_classes: C.
        device: Where the targets are needed.

    Raises:
        DataError: A sample came without image labels, or with a class that the classifier lacks.
    """
    target_NC = torch.zeros(len(samples), num_classes)
    for row, sample in zip(target_NC, samples):
        labels, path = (sample.metainfo.get(key) for key in ("image_labels", "img_path"))
        if labels is None:
            raise DataError(
                f"labelled image '{path}' came without image_labels: put dict(type='AddImageLabels') "
                "behind LoadAnnotations and end the labelled pipeline with PackSemiInputs"
            )
        if max(labels, default=0) >= num_classes:
            raise DataError(
                f"labelled image '{path}' has the class {max(labels)}, the classifier has "
                f"{num_classes} classes: set model.classifier.head.num_classes"
            )
        row[list(labels)] = 1
    # Known before the batch is sent: an image whose pixels are all ignored has no class at all.
    known_N = target_NC.any(1)
    return target_NC.to(device, non_blocking=True), known_N.to(device, non_blocking=True)
