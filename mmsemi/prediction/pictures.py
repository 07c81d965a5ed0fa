# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The files of a prediction: a mask, colours, an overlay, confidences; each a picture of the image's size.

They are made some rows at a time, so that a large image needs little more than the picture itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from ..errors import DataError
from ..self_training.label_files import encode_confidence
from ..visualization.palette import overlay, transparent_classes
from ..visualization.pseudo_labels import paint_labels
from .predictor import Prediction

#: What can be written: folder and suffix.
KINDS = dict(masks=".png", colors=".png", overlays=".jpg", confidence=".png")
_CHUNK = 2**22  # pixels
_JPEG_SIDE = 65500  # of libjpeg


def encode_picture(
    kind: str, prediction: Prediction, palette: Sequence[Sequence[int]], picture: np.ndarray | None
) -> bytes:
    """The file of one kind.

    Args:
        kind: ``'masks'``: PNG, class numbers; ``'colors'``: PNG, the classes' colours; ``'overlays'``: JPEG,
            the colours over the image, but for the background; ``'confidence'``: 16-bit PNG, 65535 is
            certainty.
        prediction: Labels and confidences.
        palette: Colours of the classes.
        picture: The image (H, W, 3), 8-bit RGB, for an overlay.

    Raises:
        DataError: The image is too large for an overlay.
    """
    labels = prediction.labels_HW
    if kind == "masks":
        array = labels
    elif kind == "colors":
        array = _by_rows(labels.shape, lambda rows: paint_labels(labels[rows], palette)[..., ::-1])
    elif kind == "overlays":
        if max(labels.shape) > _JPEG_SIDE:
            raise DataError(
                f"an overlay is a JPEG file of at most {_JPEG_SIDE} pixels a side, and the image has "
                f"{labels.shape[1]}x{labels.shape[0]}: leave out overlays (--write masks colors)"
            )
        clear = transparent_classes(prediction.classes)
        array = _by_rows(
            labels.shape,
            lambda rows: overlay(labels[rows], picture[rows], palette, clear)[..., ::-1],
        )
    else:
        confidence = prediction.confidence_HW
        array = _by_rows(labels.shape, lambda rows: encode_confidence(confidence[rows]))
    return cv2.imencode(KINDS[kind], array)[1].tobytes()


def _by_rows(shape: tuple[int, int], make: Callable[[slice], np.ndarray]) -> np.ndarray:
    """A picture whose rows are made a few at a time."""
    made: np.ndarray | None = None
    for rows in _parts(shape):
        part = make(rows)
        if made is None:
            made = np.empty((shape[0], *part.shape[1:]), part.dtype)
        made[rows] = part
    return made


def _parts(shape: tuple[int, int]) -> Iterator[slice]:
    step = max(1, _CHUNK // shape[1])
    return (slice(start, start + step) for start in range(0, shape[0], step))
