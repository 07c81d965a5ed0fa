# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The last transform of a training pipeline."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackSemiInputs(PackSegInputs):
    """Stock ``PackSegInputs`` with masks kept in uint8.

    The stock transform ships int64 masks: eight times the bytes through the worker's pipe and to the
    device. The preprocessor casts on the device.

    Image labels (:class:`~mmsemi.datasets.transforms.AddImageLabels`) become metainfo.
    """

    def transform(self, results: dict) -> dict:
        """Pack image, mask (1, H, W) uint8 and meta keys into ``inputs`` and ``data_samples``."""
        mask = results.pop("gt_seg_map", None)
        packed = super().transform(results)
        if mask is not None:
            data = torch.from_numpy(np.ascontiguousarray(mask[None]))
            packed["data_samples"].gt_sem_seg = PixelData(data=data)
        if "image_labels" in results:
            packed["data_samples"].set_metainfo(dict(image_labels=results["image_labels"]))
        return packed
