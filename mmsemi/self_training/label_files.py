# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The files of stored labels: names, values, what they take, and how good they are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..datasets.files import common_folder
from ..errors import MachineError
from ..utils.files import path_below, write_beside

LABELS, CONFIDENCE = "labels", "confidence"
#: Bytes of a pixel on disk: measured of labels 0.02 to 0.2, of confidences 0.3 to 1.9.
_LABEL_BYTES, _CONFIDENCE_BYTES = 0.25, 2.0
_MEASURED_IMAGES = 64
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def encode_confidence(confidence_HW: np.ndarray) -> np.ndarray:
    """Confidences as they are stored: uint16, rounded up, so that a tie stays one in DMT's comparison."""
    return np.ceil(confidence_HW.astype(np.float64) * 65535).clip(0, 65535).astype(np.uint16)


def write_png(path: Path, array_HW: np.ndarray) -> None:
    """Write a label or confidence map of 8 or 16 bits, complete or not at all."""
    encoded = cv2.imencode(".png", array_HW)[1].tobytes()
    write_beside(path, lambda file: file.write(encoded))


def check_disk(img_paths: Sequence[str], out: Path, confidence: bool) -> int:
    """Estimate what the labels of images take, and compare it with what is free.

    Args:
        img_paths: All images; the sizes of some of them are read.
        out: The folder, which need not exist.
        confidence: Whether confidences are written, too.

    Returns:
        The estimate in bytes.

    Raises:
        MachineError: It is more than is free.
    """
    step = -(-len(img_paths) // _MEASURED_IMAGES)
    pixels = []
    for path in img_paths[::step]:
        try:
            with Image.open(path) as image:
                pixels.append(image.width * image.height)
        except (OSError, ValueError, Image.DecompressionBombError):
            continue  # loading it says why
    each = _LABEL_BYTES + (_CONFIDENCE_BYTES if confidence else 0)
    needed = int(np.mean(pixels or [0]) * len(img_paths) * each)
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    print(
        f"{len(img_paths)} images, about {_size(needed)} of labels; {_size(free)} are free",
        flush=True,
    )
    if needed > free:
        raise MachineError(
            f"the labels need about {_size(needed)}, '{out}' has {_size(free)}: make room, name a folder on "
            "another disk, or leave out the confidences (--no-confidence)"
        )
    return needed


def _size(number: int) -> str:
    unit, divisor = next((u for u in _UNITS if number >= u[1]), _UNITS[-1])
    return f"{number / divisor:.1f} {unit}"


def label_folders(out: str | os.PathLike, img_paths: Sequence[str]) -> dict[str, str]:
    """``data_prefix`` of a :class:`~mmsemi.datasets.PseudoLabelDataset` for a folder made here.

    Args:
        out: The folder.
        img_paths: All images that the ids were made of.
    """
    folders = dict(img_path=common_folder(list(img_paths)), seg_map_path=str(Path(out, LABELS)))
    if Path(out, CONFIDENCE).is_dir():
        folders["conf_map_path"] = str(Path(out, CONFIDENCE))
    return folders


def compare_with_masks(
    out: Path, masks: dict[str, Callable[[], np.ndarray]], num_classes: int, ignore_index: int
) -> dict[str, float]:
    """Accuracy and mIoU, in percent, of the admitted labels against masks: for people, not for training.

    Args:
        out: The folder.
        masks: Loads the mask (H, W) of an image, by the id of the image.
        num_classes: Classes.
        ignore_index: Value without a class, in both.
    """
    confusion = np.zeros((num_classes, num_classes), np.int64)
    for name, load in masks.items():
        path = path_below(out / LABELS, f"{name}.png")
        if not path.is_file():
            continue
        label = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        truth = load()
        valid = (label != ignore_index) & (truth != ignore_index)
        pairs = truth[valid].astype(np.int64) * num_classes + label[valid]
        confusion += np.bincount(pairs, minlength=num_classes**2).reshape(confusion.shape)
    hits = np.diag(confusion).astype(float)
    union = confusion.sum(0) + confusion.sum(1) - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = 100 * hits / union
    return dict(
        accuracy=float(100 * hits.sum() / max(1, confusion.sum())), mIoU=float(np.nanmean(iou))
    )
