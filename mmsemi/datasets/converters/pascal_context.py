# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""PASCAL-Context: masks of 59 classes and background from the released .mat files.

The release labels VOC 2010 with 459 categories, one ``<id>.mat`` an image with the matrix
``LabelMap``. 59 frequent ones are evaluated, everything else is background. No Detail API is needed.
The lists are VOC 2010's own train and val, which the release covers completely.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmseg.datasets import PascalContextDataset
from scipy.io import loadmat

from ...errors import DataError
from ...utils.files import path_below
from ..splits import read_id_list
from .common import (
    IdList,
    Outcome,
    check_size,
    convert_masks,
    list_stems,
    need_all,
    present_values,
    write_list,
    write_mask,
)

# Ids of the 59 categories in the release's labels.txt. That list is alphabetical, and so are mmseg's
# class names: the k-th id belongs to class k, which --labels checks by name.
RAW_IDS = (2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105)
RAW_IDS += (113, 115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296)
RAW_IDS += (308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440)
RAW_IDS += (445, 454, 458)
NUM_RAW = 460  # 0 and 459 categories
CLASSES: tuple[str, ...] = PascalContextDataset.METAINFO["classes"]
PALETTE = PascalContextDataset.METAINFO["palette"]
RAW_TO_CLASS = np.zeros(NUM_RAW, np.uint8)
RAW_TO_CLASS[list(RAW_IDS)] = np.arange(1, len(CLASSES))

PARTS = {"train": IdList("train", 4998), "val": IdList("val", 5105)}


class Job(NamedTuple):
    """One mask to write."""

    source: Path
    image: Path
    target: Path


def read_label_map(path: Path) -> np.ndarray:
    """The 459 categories of a file of the release, (H, W) integers."""
    try:
        raw = np.asarray(loadmat(path)["LabelMap"])
    except KeyError:
        raise DataError(
            f"'{path}' has no matrix LabelMap: it is no file of PASCAL-Context"
        ) from None
    except Exception as error:  # scipy raises many kinds for broken files
        raise DataError(f"'{path}' cannot be read: {error}") from None
    if raw.ndim != 2 or raw.size == 0 or raw.min() < 0 or raw.max() >= NUM_RAW:
        raise DataError(
            f"'{path}': LabelMap has shape {raw.shape}"
            + (f" and values {raw.min()}-{raw.max()}" if raw.size else "")
            + f", expected a (H, W) matrix of 0-{NUM_RAW - 1}"
        )
    return raw.astype(np.int64)


def convert_one(job: Job) -> Outcome:
    """Write one mask: 0 background, 1-59 the classes."""
    mask = RAW_TO_CLASS[read_label_map(job.source)]
    check_size(mask, job.source, job.image)
    return Outcome(write_mask(job.target, mask, PALETTE), present_values(mask))


def check_labels(path: Path) -> None:
    """Compare a name list of the release (``labels.txt``, ``59_labels.txt``: ``id: name``).

    Raises:
        DataError: A line is no such pair, or a class has another id.
    """
    ids = dict(zip(RAW_IDS, CLASSES[1:]))
    names = set()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        match = re.fullmatch(r"\s*(\d+)\s*:\s*(.+?)\s*", line)
        if match is None:
            raise DataError(f"'{path}': '{line}' is not of the form 'id: name'")
        number, name = int(match[1]), match[2]
        if number in ids:
            # The release spells some names with spaces or more words, such as "potted plant".
            if re.sub(r"[^a-z]", "", name.lower()) != ids[number]:
                raise DataError(
                    f"'{path}' calls id {number} '{name}', the conversion '{ids[number]}'"
                )
            names.add(number)
    need_all([str(i) for i in ids], [str(i) for i in names], f"{{}} ids are not in '{path}'")
    print(f"{path}: the names of the 59 ids are as expected")


def find_voc(folder: Path) -> Path:
    """The folder with JPEGImages: VOC2010, or one that contains it."""
    for root in (folder, folder / "VOC2010", folder / "VOCdevkit" / "VOC2010"):
        if (root / "JPEGImages").is_dir():
            return root
    raise DataError(
        f"'{folder}' is no VOC 2010 folder: it has no JPEGImages, VOC2010/JPEGImages or "
        "VOCdevkit/VOC2010/JPEGImages"
    )


def convert(
    voc: Path, context: Path, labels: Path | None = None, subset: bool = False, nproc: int = 1
) -> None:
    """Make masks and lists, see the module's text."""
    root = find_voc(voc)
    mats = context / "trainval" if (context / "trainval").is_dir() else context
    if labels:
        check_labels(labels)
    jobs: list[Job] = []
    parts: dict[str, list[str]] = {}
    has_mat = list_stems(mats, ".mat", "the files of trainval.tar.gz")
    has_image = list_stems(root / "JPEGImages", ".jpg", "images")
    for part, expected in PARTS.items():
        parts[part] = ids = sorted(read_id_list(root / "ImageSets" / "Main" / f"{part}.txt"))
        expected.check(ids, subset)
        need_all(ids, has_mat, f"{{}} {part} images have no .mat file in '{mats}'")
        need_all(ids, has_image, f"{{}} {part} images are missing in '{root / 'JPEGImages'}'")
        jobs += [
            Job(
                mats / f"{name}.mat",
                root / "JPEGImages" / f"{name}.jpg",
                path_below(root / "SegmentationClassContext", f"{name}.png"),
            )
            for name in ids
        ]
    convert_masks(convert_one, jobs, nproc, jobs[0].target.parent)
    for part, ids in parts.items():
        write_list(root / "ImageSets" / "SegmentationContext" / f"{part}.txt", ids)
