# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Which classes an image shows, read off its mask."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ...errors import ConfigError


@TRANSFORMS.register_module()
class AddImageLabels(BaseTransform):
    """Add ``image_labels``: the classes with at least one pixel in the mask, in ascending order.

    It sees the mask as it is at its place in the pipeline: behind ``LoadAnnotations`` and before any
    ``Resize``, so that nearest-neighbour resizing loses no small object; behind ``RandomCrop``, where
    the pipeline crops, since what is cut off is not in the image.

    ``PackSemiInputs`` takes the labels over into the metainfo; the stock ``PackSegInputs`` needs
    ``'image_labels'`` in its ``meta_keys``. (Validation needs neither: the truth is the full mask's.)

    Args:
        ignore_index: Value of pixels without a label.

    Raises:
        ConfigError: There is no mask in front of it.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Add the tuple of class indices; it is empty where no pixel has a label."""
        if "gt_seg_map" not in results:
            raise ConfigError(
                "AddImageLabels found no mask: put it behind LoadAnnotations, into the pipeline of "
                "labelled images only"
            )
        results["image_labels"] = classes_in(results["gt_seg_map"], self.ignore_index)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(ignore_index={self.ignore_index})"


def classes_in(mask: np.ndarray, ignore_index: int = 255) -> tuple[int, ...]:
    """Classes with at least one pixel in a mask of any shape, in ascending order."""
    counts = np.bincount(mask.ravel())
    return tuple(label for label in np.flatnonzero(counts).tolist() if label != ignore_index)
