# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Labels of images from the networks of a checkpoint, by the test pipeline of its config.

An image is predicted as ``mmsemi test`` does it, as a whole, if the scores of all its pixels and classes are
few enough; else in tiles that overlap, whose probabilities are summed (:mod:`.rows`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..errors import ConfigError
from ..models.forward import two_class_logits
from .preparation import Preparation, Prepared
from .rows import MAX_SCORES, labels_of_rows, resized_rows, tiled_probabilities

#: Pixels of the network's input up to which an image is predicted as a whole.
MAX_PIXELS = 2048 * 2048
_MIN_TILE = 64


class Prediction(NamedTuple):
    """What a model says of an image.

    Attributes:
        labels_HW: Number of the likeliest class, uint8.
        confidence_HW: Its probability, float32 in [0, 1].
        classes: Names of the classes.
    """

    labels_HW: np.ndarray
    confidence_HW: np.ndarray
    classes: list[str]


class Predictor:
    """Networks with a test pipeline; :func:`~mmsemi.prediction.load` makes one of a checkpoint.

    Args:
        nets: Plain mmseg segmentors in eval mode; of several, the probabilities are averaged.
        preparation: The test pipeline.
        classes: Names of the classes.
        palette: Their colours, RGB.
        origin: What the predictions come from, for people and to tell results apart.

    Attributes:
        tile: Height and width of a tile.
        max_pixels: Pixels of the network's input up to which an image is not cut into tiles.
    """

    def __init__(
        self,
        nets: Sequence[nn.Module],
        preparation: Preparation,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
        origin: dict[str, Any],
    ) -> None:
        self.nets, self.preparation, self.origin = list(nets), preparation, origin
        self.classes, self.palette = list(classes), list(palette)
        self.device = next(nets[0].parameters()).device
        self.tile, self.max_pixels = 1024, MAX_PIXELS
        head = nets[0].decode_head
        head = head[-1] if isinstance(head, nn.ModuleList) else head
        self._threshold = head.threshold if nets[0].out_channels == 1 else None

    def set_tiles(self, tile: int | None = None, max_pixels: int | None = None) -> None:
        """Change the size of tiles, and which images are cut into them; None leaves it.

        Raises:
            ConfigError: One of the two is too small.
        """
        tile = self.tile if tile is None else tile
        max_pixels = self.max_pixels if max_pixels is None else max_pixels
        if tile < _MIN_TILE or max_pixels < 1:
            raise ConfigError(
                f"tile={tile} must be at least {_MIN_TILE}, max_pixels={max_pixels} at least 1"
            )
        self.tile, self.max_pixels = tile, max_pixels

    def predict(self, image: str | os.PathLike | np.ndarray) -> Prediction:
        """Labels and confidences of one image, at its own size.

        Args:
            image: Path of a file, or pixels: (H, W), (H, W, 3) RGB or (H, W, 4), uint8 or uint16, which are
                treated as a PNG file with these pixels would be.

        Raises:
            DataError: It cannot be read, or has other channels than the network.
        """
        return self.predict_prepared([self.preparation(image)])[0]

    def predict_prepared(self, images: Sequence[Prepared]) -> list[Prediction]:
        """The same of several images; those of one size share a forward."""
        found: list[Prediction | None] = [None] * len(images)
        groups: dict[tuple, list[int]] = {}
        for number, image in enumerate(images):
            groups.setdefault((*image.input_Chw.shape,), []).append(number)
        for members in groups.values():
            pixels = images[members[0]].input_Chw[0].numel()
            step = max(1, MAX_SCORES // (pixels * self._channels))
            for start in range(0, len(members), step):
                part = members[start : start + step]
                for number, result in zip(part, self._predict_group([images[i] for i in part])):
                    found[number] = result
        return found

    @property
    def _channels(self) -> int:
        """Scores of a pixel, those of all networks."""
        return len(self.nets) * len(self.classes)

    def _predict_group(self, images: list[Prepared]) -> list[Prediction]:
        """Predict images of one size, in tiles if they are large or the GPU has no room."""
        pixels = images[0].input_Chw[0].numel()
        if pixels <= self.max_pixels and pixels * self._channels <= MAX_SCORES:
            # The next attempt is outside of `except`: the error holds what has filled the memory.
            with suppress(torch.OutOfMemoryError):
                inputs, samples = [one.input_Chw for one in images], [one.sample for one in images]
                logits = self._logits(inputs, samples)
                return [self._finish(one, [(0, own)], True) for one, own in zip(images, logits)]
            torch.cuda.empty_cache()
            if len(images) > 1:
                return [result for one in images for result in self._predict_group([one])]
        return [self._predict_tiled(one) for one in images]

    def _predict_tiled(self, image: Prepared) -> Prediction:
        def logits_of(part_Chw: Tensor) -> Tensor:
            shape = tuple(part_Chw.shape[-2:])
            notes = dict(img_shape=shape, ori_shape=shape, pad_shape=shape)
            sample = SegDataSample(metainfo={**image.sample.metainfo, **notes})
            return self._logits([part_Chw], [sample])[0]

        bands = tiled_probabilities(logits_of, image.input_Chw, self.tile, self.tile // 4)
        return self._finish(image, bands, False)

    @torch.no_grad()
    def _logits(self, inputs: list[Tensor], samples: list[SegDataSample]) -> list[Tensor]:
        """Logits (K, C, h, w) of each image of one size, without its padding."""
        data = self.nets[0].data_preprocessor(dict(inputs=inputs, data_samples=samples), False)
        samples = data["data_samples"]  # copies that know of padding
        outputs = [
            # mmseg's sliding window writes into the notes.
            two_class_logits(net.inference(data["inputs"], [one.metainfo for one in samples]))
            for net in self.nets
        ]
        logits_NKChw = torch.stack(outputs, 1).float()
        found = []
        for logits_KChw, sample in zip(logits_NKChw, samples):
            notes, (height, width) = sample.metainfo, logits_KChw.shape[-2:]
            left, right, top, bottom = notes.get(
                "img_padding_size", notes.get("padding_size", (0, 0, 0, 0))
            )
            found.append(logits_KChw[..., top : height - bottom, left : width - right])
        return found

    def _finish(self, image: Prepared, bands: Any, are_logits: bool) -> Prediction:
        """Labels and confidences of bands of scores, resized to the image's own size."""
        size_hw = tuple(image.input_Chw.shape[-2:])
        size_HW = tuple(image.sample.metainfo["ori_shape"][:2])
        with torch.no_grad():
            rows = resized_rows(bands, size_hw, size_HW, self.nets[0].align_corners)
            labels, confidence = labels_of_rows(rows, size_HW, are_logits, self._threshold)
        return Prediction(labels.numpy(), confidence.numpy(), self.classes)
