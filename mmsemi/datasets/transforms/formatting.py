# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The last transform of a training pipeline."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from ...errors import ConfigError


@TRANSFORMS.register_module()
class PackSemiInputs(PackSegInputs):
    """Stock ``PackSegInputs`` with masks kept in uint8.

    The stock transform ships int64 masks: eight times the bytes through the worker's pipe and to the
    device. The preprocessor casts on the device.

    Image labels (:class:`~mmsemi.datasets.transforms.AddImageLabels`) become metainfo. A pair of crops
    (:class:`~mmsemi.datasets.transforms.OverlappingCropPair`) is packed as one tensor of both. The
    confidence of a stored label (:class:`~mmsemi.datasets.transforms.LoadPseudoLabel`) is packed as
    ``gt_confidence``.

    Raises:
        ConfigError: A transform has changed a pair of crops, or a label without its confidence.
    """

    def transform(self, results: dict) -> dict:
        """Pack image, mask (1, H, W) uint8 and meta keys into ``inputs`` and ``data_samples``.

        Returns:
            ``inputs`` is (C, H, W), or (2, C, H, W) for a pair of crops.
        """
        mask, confidence = results.pop("gt_seg_map", None), results.pop("gt_conf_map", None)
        if "crop_pair" in results:
            packed = self._pack_pair(results)
        else:
            packed = super().transform(results)
        if mask is not None:
            data = torch.from_numpy(np.ascontiguousarray(mask[None]))
            packed["data_samples"].gt_sem_seg = PixelData(data=data)
        if confidence is not None:
            if confidence.shape != mask.shape:
                raise ConfigError(
                    f"a transform made labels of {mask.shape} and left their confidences at "
                    f"{confidence.shape}: leave out what changes the labels alone, such as Pad (the "
                    "preprocessor pads)"
                )
            data = torch.from_numpy(np.ascontiguousarray(confidence[None]))
            packed["data_samples"].gt_confidence = PixelData(data=data)
        if "image_labels" in results:
            packed["data_samples"].set_metainfo(dict(image_labels=results["image_labels"]))
        return packed

    def _pack_pair(self, results: dict) -> dict:
        crops = results["img"]
        if not isinstance(crops, list):  # numpy's functions make an array of a list
            raise ConfigError(
                "a transform behind OverlappingCropPair has changed the crops, whose overlap is known "
                "already: put it before, in train_dataloader.dataset.unlabeled.pipeline"
            )
        both = [PackSegInputs.transform(self, dict(results, img=crop)) for crop in crops]
        packed = dict(both[0], inputs=torch.stack([one["inputs"] for one in both]))
        packed["data_samples"].set_metainfo(dict(crop_pair=results["crop_pair"]))
        return packed
