# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Reading masks, with the mistakes of real data sets found at the file that has them."""

from __future__ import annotations

import mmcv
import numpy as np
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL.Image import DecompressionBombError

from ...errors import ConfigError, DataError


def check_values(
    labels: np.ndarray, num_classes: int | None, ignore_index: int, described: str
) -> None:
    """Refuse labels that are neither a class nor void.

    Args:
        labels: Integers of any shape.
        num_classes: Classes are 0..num_classes-1; None skips the check.
        ignore_index: Value of pixels without a label.
        described: What holds the labels.

    Raises:
        DataError: There is such a label.
    """
    if num_classes is None:
        return
    if labels.dtype == np.uint8:
        illegal = np.ones(256, dtype=bool)
        illegal[:num_classes] = False
        if 0 <= ignore_index < 256:
            illegal[ignore_index] = False
        outside = illegal[labels]
    else:
        outside = ((labels < 0) | (labels >= num_classes)) & (labels != ignore_index)
    if outside.any():
        values = np.unique(labels[outside]).tolist()
        raise DataError(
            f"{described} has the value{'s' * (len(values) > 1)} {', '.join(map(str, values[:8]))}, "
            f"but the data set has {num_classes} classes (0..{num_classes - 1}, {ignore_index} = "
            "ignore): correct the classes in metainfo, map the values, or set reduce_zero_label (a "
            "palette or grey PNG must store class indices, not colours)"
        )


def check_labels(
    labels_1HW: np.ndarray, size_hw: tuple[int, int], num_classes: int | None, ignore_index: int
) -> None:
    """Refuse labels that a pipeline hands out and no loss can mean, whatever loaded them.

    Args:
        labels_1HW: Labels as they are packed.
        size_hw: Size of their image.
        num_classes: See :func:`check_values`.
        ignore_index: See :func:`check_values`.

    Raises:
        DataError: They are no integers, of another size, or of a value that is no class.
    """
    if labels_1HW.dtype.kind not in "biu" or labels_1HW.shape != (1, *size_hw):
        raise DataError(
            f"its pipeline gives labels of {labels_1HW.dtype} {labels_1HW.shape} for an image of "
            f"{size_hw[0]}x{size_hw[1]}: they must be whole numbers (1, H, W)"
        )
    described = "its mask, as the pipeline gives it (seg_pad_val of the transforms included),"
    check_values(labels_1HW, num_classes, ignore_index, described)


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

    @classmethod
    def in_place_of(
        cls, loader: LoadAnnotations, num_classes: int | None, ignore_index: int
    ) -> LoadCheckedAnnotations:
        """The same loader with the checks; it keeps every setting."""
        checked = cls(num_classes, ignore_index)
        vars(checked).update(vars(loader))
        return checked

    def _decode(self, path: str, backend: str | None = None) -> np.ndarray:
        data = fileio.get(path, backend_args=self.backend_args)
        backend = backend or self.imdecode_backend
        try:
            raw = mmcv.imfrombytes(data, flag="unchanged", backend=backend)
        except DecompressionBombError as error:
            raise DataError(
                f"mask '{path}' is too large: {error}; cut image and mask into tiles, or set "
                "imdecode_backend='cv2' of LoadAnnotations (for a grey mask without palette)"
            ) from None
        except Exception as error:  # decoders raise many types for broken data
            raise DataError(f"mask '{path}' cannot be decoded: {error}") from error
        if raw is None:
            raise DataError(f"mask '{path}' cannot be decoded")
        return raw

    def _load_seg_map(self, results: dict) -> None:
        path = results["seg_map_path"]
        if self.reduce_zero_label not in (None, results["reduce_zero_label"]):
            raise ConfigError(
                f"LoadAnnotations has reduce_zero_label={self.reduce_zero_label}, its data set "
                f"reduce_zero_label={results['reduce_zero_label']}: set it in the data set alone"
            )
        raw = self._decode(path)
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
            turned = mask.shape == image_hw[::-1]
            why = (
                " (turned by an EXIF tag, which masks do not have? turn the pixels)"
                if turned
                else ""
            )
            raise DataError(
                f"mask '{path}' is {mask.shape[1]}x{mask.shape[0]} pixels, its image "
                f"'{results.get('img_path')}' is {image_hw[1]}x{image_hw[0]}{why}"
            )
        check_values(mask, self.num_classes, self.ignore_index, f"mask '{path}'")
        results["gt_seg_map"] = mask
        results["seg_fields"].append("gt_seg_map")


@TRANSFORMS.register_module()
class LoadPseudoLabel(LoadCheckedAnnotations):
    """Also loads the confidence of each label, where the sample has a ``conf_map_path``.

    ``gt_conf_map`` is (H, W) float32 in [0, 1], and one of the ``seg_fields``, which transforms of mmseg
    change as they change the labels.

    Raises:
        DataError: The confidence is no grey picture of 8 or 16 bits, or of another size than the label.
    """

    def _load_seg_map(self, results: dict) -> None:
        super()._load_seg_map(results)
        path = results.get("conf_map_path")
        if path is None:
            return
        raw = self._decode(path, backend="cv2").squeeze()
        if raw.ndim != 2 or raw.dtype not in (np.uint8, np.uint16):
            raise DataError(
                f"confidence '{path}' is a picture of {raw.dtype} {raw.shape}: it must be grey, with 8 or 16 "
                "bits, whose largest value is certainty"
            )
        if raw.shape != results["gt_seg_map"].shape:
            raise DataError(
                f"confidence '{path}' is {raw.shape[1]}x{raw.shape[0]} pixels, its label "
                f"'{results['seg_map_path']}' is {results['gt_seg_map'].shape[1]}x"
                f"{results['gt_seg_map'].shape[0]}"
            )
        results["gt_conf_map"] = raw / np.float32(np.iinfo(raw.dtype).max)
        results["seg_fields"].append("gt_conf_map")
