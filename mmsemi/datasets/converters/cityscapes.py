# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Cityscapes: masks with the 19 training classes, and the lists of train, val and train_extra.

The masks come from the official ``labelIds`` by a table, or are drawn from the official polygons
where only these exist. The coarse masks of train_extra are left alone: its images are unlabelled.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from ...errors import DataError
from .common import (
    IGNORE,
    IdList,
    Outcome,
    check_size,
    check_values,
    convert_masks,
    find_in_cities,
    need_all,
    need_folder,
    read_mask,
    write_list,
    write_mask,
)

# The 19 evaluated classes in the order of their training id: name and id in the labelIds files.
CLASSES = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
# Labels that are ignored in training. The license plate has no id: the car below it stays.
VOID = (
    "unlabeled",
    "ego vehicle",
    "rectification border",
    "out of roi",
    "static",
    "dynamic",
    "ground",
    "parking",
    "rail track",
    "guard rail",
    "bridge",
    "tunnel",
    "polegroup",
    "caravan",
    "trailer",
)
NUM_IDS = 34
TRAIN_ID = {name: position for position, name in enumerate(CLASSES)}
IDS_TO_TRAIN_IDS = np.full(256, IGNORE, np.uint8)
IDS_TO_TRAIN_IDS[list(CLASSES.values())] = np.arange(len(CLASSES))

PARTS = {
    "train": IdList.of_master("train", "city"),
    "val": IdList.of_master("val", "city_val"),
}
TRAIN_EXTRA = IdList.of_master("train_extra", "city_extra")
# Commonly reported as damaged in the official archive.
SUSPECT = "troisdorf/troisdorf_000000_000073"
IMAGE, MASK = "_leftImg8bit.png", "_gtFine_labelTrainIds.png"
IDS, POLYGONS = "_gtFine_labelIds.png", "_gtFine_polygons.json"


class Job(NamedTuple):
    """One mask to write; without a source the target is only checked."""

    source: Path | None
    image: Path
    target: Path


def draw_polygons(path: Path) -> np.ndarray:
    """Draw a polygon file, later objects over earlier ones, as (H, W) uint8 training ids.

    Raises:
        DataError: The file is broken or has a label that Cityscapes has not.
    """
    try:
        content = json.loads(path.read_text())
        width, height = int(content["imgWidth"]), int(content["imgHeight"])
        shapes = [
            (item["label"], [tuple(point) for point in item["polygon"]])
            for item in content["objects"]
            if not item.get("deleted")
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{path}' is not a Cityscapes polygon file: {error!r}") from None
    image = Image.new("L", (width, height), IGNORE)
    draw = ImageDraw.Draw(image)
    for label, points in shapes:
        # A group of objects that could not be told apart has the class of the object.
        if label not in VOID and label not in TRAIN_ID:
            label = label.removesuffix("group")
        if label == "license plate" or len(points) < 3:
            continue
        if label not in VOID and label not in TRAIN_ID:
            raise DataError(f"'{path}' has the unknown label '{label}'")
        draw.polygon(points, fill=TRAIN_ID.get(label, IGNORE))
    return np.array(image)


def convert_one(job: Job) -> Outcome:
    """Write one mask of training ids, or check it."""
    if job.source is None:
        mask = read_mask(job.target)
    elif job.source.suffix == ".json":
        mask = draw_polygons(job.source)
    else:
        ids = read_mask(job.source)
        check_values(ids, NUM_IDS, job.source)
        mask = IDS_TO_TRAIN_IDS[ids]
    present = check_values(mask, len(CLASSES), job.source or job.target)
    check_size(mask, job.source or job.target, job.image)
    return Outcome(job.source is not None and write_mask(job.target, mask), present)


def make_jobs(images: Path, masks: Path, ids: Sequence[str], source: str) -> list[Job]:
    """One job an image, from the first of labelIds, polygons and finished masks that is complete.

    Args:
        source: 'auto', 'ids' or 'polygons'.
    """
    need_folder(masks, "the fine annotations, gtFine_trainvaltest.zip")
    kinds = {"ids": [IDS], "polygons": [POLYGONS], "auto": [IDS, POLYGONS, MASK]}[source]
    counts = {kind: set(find_in_cities(masks, kind)) for kind in kinds}
    best = max(kinds, key=lambda kind: len(counts[kind].intersection(ids)))
    need_all(ids, counts[best], f"{{}} images have no *{best} in '{masks}'")
    return [
        Job(
            None if best == MASK else masks / f"{name}{best}",
            images / f"{name}{IMAGE}",
            masks / f"{name}{MASK}",
        )
        for name in ids
    ]


def is_damaged(path: Path) -> bool:
    """Whether an image cannot be decoded or shows one colour only."""
    try:
        with Image.open(path) as image:
            return all(low == high for low, high in image.convert("RGB").getextrema())
    except (OSError, SyntaxError):
        return True


def list_extra(root: Path, subset: bool) -> None:
    """Write ``train_extra.txt``: paths below ``leftImg8bit/train_extra``."""
    folder = root / "leftImg8bit" / "train_extra"
    if not folder.is_dir():
        print(f"train_extra: no folder '{folder}', skipped (only cityscapes_extra.py needs it)")
        return
    ids = find_in_cities(folder, IMAGE)
    TRAIN_EXTRA.check(ids, subset)
    empty = [name for name in ids if not (folder / f"{name}{IMAGE}").stat().st_size]
    if empty:
        raise DataError(f"{len(empty)} images of '{folder}' are empty, first '{empty[0]}'")
    if SUSPECT in ids and is_damaged(folder / f"{SUSPECT}{IMAGE}"):
        print(f"train_extra: '{SUSPECT}{IMAGE}' is damaged, left out of the list")
        ids.remove(SUSPECT)
    write_list(root / "train_extra.txt", [f"{name}{IMAGE}" for name in ids])


def convert(cityscapes: Path, source: str = "auto", subset: bool = False, nproc: int = 1) -> None:
    """Make masks and lists, see the module's text."""
    root = cityscapes
    need_folder(root / "leftImg8bit" / "train", "the images, leftImg8bit_trainvaltest.zip")
    jobs: list[Job] = []
    found: dict[str, list[str]] = {}
    for part, expected in PARTS.items():
        images = need_folder(root / "leftImg8bit" / part, "images")
        found[part] = find_in_cities(images, IMAGE)
        expected.check(found[part], subset)
        jobs += make_jobs(images, root / "gtFine" / part, found[part], source)
    convert_masks(convert_one, jobs, nproc, root / "gtFine")
    for part, ids in found.items():
        write_list(root / f"{part}.txt", ids)
    list_extra(root, subset)
