# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""An image as the test pipeline of a model makes it, from a file or an array."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import mmcv
import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import Compose
from mmseg.structures import SegDataSample
from torch import Tensor

from ..datasets.pipelines import without_masks
from ..errors import ConfigError, DataError


class Prepared(NamedTuple):
    """An image for the network.

    Attributes:
        input_Chw: As the pipeline packs it, not yet normalised.
        sample: Its notes (``ori_shape``, ...).
        picture_HW3: The image as it was loaded, 8-bit RGB, if it was asked for.
    """

    input_Chw: Tensor
    sample: SegDataSample
    picture_HW3: np.ndarray | None = None


def test_steps(config: Mapping[str, Any]) -> list[dict]:
    """The test pipeline of a config as far as it does not read masks.

    Raises:
        ConfigError: It has none.
    """
    loader = config.get("test_dataloader") or config.get("val_dataloader") or {}
    dataset = loader.get("dataset") or {}
    while "pipeline" not in dataset and (dataset.get("datasets") or dataset.get("dataset")):
        dataset = dataset["datasets"][0] if dataset.get("datasets") else dataset["dataset"]
    steps = dataset.get("pipeline") or config.get("test_pipeline")
    if not steps:
        raise ConfigError(
            "the config has neither test_dataloader.dataset.pipeline nor test_pipeline, which say how an "
            "image is loaded: give the training config with --config"
        )
    return without_masks(steps)


class Preparation:
    """Runs a test pipeline.

    Args:
        steps: Of :func:`test_steps`.
    """

    def __init__(self, steps: Sequence[dict]) -> None:
        self.steps = Compose(list(steps)).transforms

    def __call__(
        self, image: str | os.PathLike | np.ndarray, with_picture: bool = False
    ) -> Prepared:
        """Load and transform an image.

        Args:
            image: Path of a file, or the pixels: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGB and alpha, uint8
                or uint16. An array is what a PNG file with these pixels would be.
            with_picture: Also keep the image as it was loaded.

        Raises:
            DataError: It cannot be read.
            ConfigError: The pipeline does not give one image, or its first step does not take arrays.
        """
        is_array = isinstance(image, np.ndarray)
        name = "the array" if is_array else f"'{os.fspath(image)}'"
        results: dict[str, Any] = dict(
            img_path=None if is_array else os.fspath(image),
            label_map=None,
            reduce_zero_label=False,
            seg_fields=[],
        )
        picture, loads = None, _steps_for_array if is_array else _steps_for_file
        try:
            for step in loads(self.steps, image):
                results = step(results)
                if results is None:
                    raise DataError("its pipeline returned nothing")
                if with_picture and picture is None and "img" in results:
                    picture = picture_of(results["img"])
        except ConfigError:
            raise  # of the pipeline, whatever the image
        except Exception as error:  # decoders raise many types for broken data
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            # Stock loaders name the file themselves.
            known = not is_array and os.fspath(image) in reason
            raise DataError(reason if known else f"{name} cannot be read: {reason}") from error
        if not isinstance(results.get("inputs"), Tensor) or results["inputs"].ndim != 3:
            raise ConfigError(
                "the test pipeline gives several views of an image, or none: it must end with PackSegInputs "
                "and have no TestTimeAug"
            )
        if results["data_samples"].metainfo.get("flip"):
            raise ConfigError("the test pipeline flips images: take RandomFlip out of it")
        return Prepared(results["inputs"], results["data_samples"], picture)


def _steps_for_file(steps: Sequence, _: Any) -> list:
    return list(steps)


def _steps_for_array(steps: Sequence, array: np.ndarray) -> list:
    """The steps with the loader replaced by one that takes the array as if it had read it."""
    if not steps or not isinstance(steps[0], LoadImageFromFile):
        raise ConfigError(
            f"the test pipeline begins with {type(steps[0]).__name__ if steps else 'nothing'}, which reads "
            "files alone: give the path of a file in the place of an array"
        )
    loader = steps[0]

    def load(results: dict) -> dict:
        image = mmcv.imfrombytes(
            encode_png(array), flag=loader.color_type, backend=loader.imdecode_backend
        )
        image = image.astype(np.float32) if loader.to_float32 else image
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return results

    return [load, *steps[1:]]


def encode_png(array: np.ndarray) -> bytes:
    """The PNG file of an image, RGB or grey, uncompressed.

    Raises:
        DataError: It is no image of 8 or 16 bits.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype not in (np.uint8, np.uint16) or array.ndim not in (2, 3) or not array.size:
        raise DataError(
            f"an array of {array.dtype} {array.shape} is no image: give (H, W), (H, W, 3) or (H, W, 4) of "
            "uint8 or uint16"
        )
    if channels not in (1, 3, 4):
        raise DataError(
            f"an image has 1, 3 or 4 channels, not {channels}: its shape is {array.shape}"
        )
    if channels > 1:
        array = array[..., [2, 1, 0, 3][:channels]]
    options = [cv2.IMWRITE_PNG_COMPRESSION, 0]
    return cv2.imencode(".png", np.ascontiguousarray(array), options)[1].tobytes()


def picture_of(image: np.ndarray) -> np.ndarray:
    """8-bit RGB (H, W, 3) of an image as mmcv loads it: BGR, grey, of any type and number of channels."""
    image = image[..., None] if image.ndim == 2 else image
    image = image[..., 2::-1] if image.shape[2] >= 3 else image[..., :1].repeat(3, 2)
    if image.dtype != np.uint8:
        values = torch.from_numpy(np.ascontiguousarray(image).astype(np.float32)).nan_to_num()
        low, high = values.aminmax()
        values = (values - low) / (high - low).clamp(min=1e-12)
        image = (values * 255).round().to(torch.uint8).numpy()
    return np.ascontiguousarray(image)
