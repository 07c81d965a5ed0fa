# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Reading masks, with the mistakes of real data sets found at the file that has them."""

from __future__ import annotations

import mmcv
import numpy as np
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from ...errors import DataError


@TRANSFORMS.register_module()
class LoadCheckedAnnotations(LoadAnnotations):
    """Stock ``LoadAnnotations`` that checks shape, size and values of each mask.

    A :class:`~mmsemi.datasets.SemiDataset` puts it in the place of every plain ``LoadAnnotations``
    of its labelled pipeline, so that stock pipelines are checked too. Without the checks a wrong
    value ends as an index error inside a CUDA kernel, and a mask of another size trains silently on
    shifted labels once both were resized.

    Args:
        num_classes: Legal values are 0..num_classes-1 and ``ignore_index``; ``None`` skips the
            value check.
        ignore_index: Value of pixels without a label.

    Raises:
        DataError: The mask is a colour picture, has another size than its image or a value that
            is no class. (The loading dataset adds the paths.)
    """

    def __init__(self, num_classes: int | None = None, ignore_index: int = 255, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_classes, self.ignore_index = num_classes, ignore_index
        if num_classes is not None:
            self._illegal = np.ones(256, dtype=bool)
            self._illegal[:num_classes] = False
            self._illegal[ignore_index] = False

    def _load_seg_map(self, results: dict) -> None:
        path = results["seg_map_path"]
        raw = mmcv.imfrombytes(
            fileio.get(path, backend_args=self.backend_args),
            flag="unchanged",
            backend=self.imdecode_backend,
        )
        if raw is None:
            raise DataError(f"mask '{path}' cannot be decoded")
        if raw.squeeze().ndim != 2:
            raise DataError(
                f"mask '{path}' is a colour picture of shape {raw.shape}: masks must hold one class "
                "index a pixel (a single-channel or palette PNG whose indices are the classes)"
            )
        if raw.max(initial=0) > 255:
            raise DataError(f"mask '{path}' has the value {int(raw.max())}: masks must be 8 bit")
        mask = raw.squeeze().astype(np.uint8)
        # As the stock method: 0 becomes "ignore" and every class moves down by one.
        if results["reduce_zero_label"]:
            mask = mask - 1
            mask[mask == 254] = 255
        if results.get("label_map") is not None:
            table = np.arange(256, dtype=np.uint8)
            for old, new in results["label_map"].items():
                table[old] = new
            mask = table[mask]
        # Not img_shape: stock test pipelines load the mask after they resized the image.
        image_hw = tuple(results.get("ori_shape", results["img_shape"])[:2])
        if mask.shape != image_hw:
            raise DataError(
                f"mask '{path}' is {mask.shape[1]}x{mask.shape[0]} pixels, its image "
                f"'{results.get('img_path')}' is "
                f"{image_hw[1]}x{image_hw[0]}"
            )
        if self.num_classes is not None and self._illegal[mask].any():
            values = np.unique(mask[self._illegal[mask]]).tolist()
            raise DataError(
                f"mask '{path}' has the value{'s' * (len(values) > 1)} "
                f"{', '.join(map(str, values[:8]))}, but the data set has {self.num_classes} "
                f"classes (0..{self.num_classes - 1}, {self.ignore_index} = ignore): correct the "
                "classes in metainfo, map the values, or set reduce_zero_label (a palette or grey "
                "PNG must store class indices, not colours)"
            )
        results["gt_seg_map"] = mask
        results["seg_fields"].append("gt_seg_map")
