# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""COCO 2017 as semantic masks: 80 object classes and background.

Classes are 1-80 in the order of COCO's category ids (which have gaps), 0 is background. UniMatch's
authors offer such masks but not the program that made them, so these two rules are our own:

- Where objects overlap, the smaller one (by COCO's ``area``) lies on top: COCO stores no depth, and
  a cup on a table would vanish the other way round.
- Crowd regions are 255: they outline a group with the gaps between its members. Objects that are
  annotated inside keep their class. ``--crowd class`` gives them their class instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DataError
from ...utils.files import path_below
from ..coco import COCO81Dataset
from .common import (
    IGNORE,
    IdList,
    Outcome,
    check_size,
    check_values,
    list_stems,
    list_values,
    map_files,
    need_all,
    read_mask,
    write_mask,
)
from .rasterize import decode_runs, fill_polygon

CLASSES: tuple[str, ...] = COCO81Dataset.METAINFO["classes"]
PALETTE = COCO81Dataset.METAINFO["palette"]
PARTS = {
    "train2017": IdList("train2017", 118287),
    "val2017": IdList("val2017", 5000),
}


class Region(NamedTuple):
    """One annotation.

    Attributes:
        value: What its pixels become.
        area: Decides what lies on top.
        shape: Polygons (list of flat coordinate lists) or run lengths (dictionary).
    """

    value: int
    area: float
    shape: list | dict


class Job(NamedTuple):
    """One mask to write."""

    image: Path
    target: Path
    height: int
    width: int
    regions: list[Region]


def draw_regions(regions: Sequence[Region], height: int, width: int) -> np.ndarray:
    """Draw crowd regions first, then the objects from large to small; (H, W) uint8."""
    mask = np.zeros((height, width), np.uint8)
    for region in sorted(regions, key=lambda r: (r.value != IGNORE, -r.area)):
        if isinstance(region.shape, dict):
            mask[decode_runs(region.shape["counts"], height, width)] = region.value
            continue
        for polygon in region.shape:
            if len(polygon) % 2:
                raise ValueError(f"a polygon of {len(polygon)} numbers")
            if len(polygon) < 6:  # a point or a line has no inside
                continue
            points = np.reshape(np.asarray(polygon, float), (-1, 2))
            # Only the part of the image around the polygon: most objects are small.
            x0, y0 = np.floor(points.min(0)).clip(0, (width, height)).astype(int)
            x1, y1 = np.ceil(points.max(0)).clip(0, (width, height)).astype(int)
            inside = fill_polygon(points - (x0, y0), y1 - y0, x1 - x0)
            mask[y0:y1, x0:x1][inside] = region.value
    return mask


def convert_one(job: Job) -> Outcome:
    """Draw and write one mask; an image without annotation is all background."""
    try:
        mask = draw_regions(job.regions, job.height, job.width)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"annotation of '{job.image}' is broken: {error}") from None
    check_size(mask, job.target, job.image)
    present = check_values(mask, len(CLASSES), job.target)
    return Outcome(write_mask(job.target, mask, PALETTE), present)


def check_one(job: Job) -> Outcome:
    """Check a mask that somebody else made."""
    mask = read_mask(job.target)
    check_size(mask, job.target, job.image)
    return Outcome(False, check_values(mask, len(CLASSES), job.target))


class Annotations:
    """An ``instances_*.json`` file by image."""

    def __init__(self, path: Path, crowd: str) -> None:
        print(f"reading {path}")
        try:
            content = json.loads(path.read_bytes())
            self.sizes = {
                Path(item["file_name"]).stem: (item["id"], item["height"], item["width"])
                for item in content["images"]
            }
            self.values = self._values(path, content["categories"])
            self.by_image: dict[int, list[Region]] = {}
            for item in content["annotations"]:
                value = self.values[item["category_id"]]
                if item.get("iscrowd") and crowd == "ignore":
                    value = IGNORE
                region = Region(value, item["area"], item["segmentation"])
                self.by_image.setdefault(item["image_id"], []).append(region)
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"'{path}' is no COCO instance file: {error!r}") from None

    @staticmethod
    def _values(path: Path, categories: list[dict]) -> dict[int, int]:
        ordered = sorted(categories, key=lambda item: item["id"])
        names = tuple(item["name"] for item in ordered)
        if names != CLASSES[1:]:
            raise DataError(
                f"'{path}' has {len(names)} categories ({', '.join(names[:3])}, ...), not the 80 "
                "of COCO's instance annotations"
            )
        return {item["id"]: position for position, item in enumerate(ordered, 1)}

    def jobs(self, images: Path, masks: Path) -> Iterator[Job]:
        """One job an image, sorted."""
        for stem in sorted(self.sizes):
            number, height, width = self.sizes[stem]
            regions = self.by_image.get(number, [])
            mask = path_below(masks, f"{stem}.png")
            yield Job(images / f"{stem}.jpg", mask, height, width, regions)


def annotation_file(root: Path, part: str) -> Path:
    """Where COCO's archive puts the instances of a part."""
    return root / "annotations" / f"instances_{part}.json"


def convert(
    coco: Path,
    parts: Sequence[str] = tuple(PARTS),
    out: Path | None = None,
    crowd: str = "ignore",
    check: bool = False,
    subset: bool = False,
    nproc: int = 1,
) -> None:
    """Make or check the masks, see the module's text."""
    out = out or coco / "masks"
    images_of = {}
    for part in parts:  # all of them before the first is drawn
        images_of[part] = list_stems(coco / part, ".jpg", f"the images, {part}.zip")
        PARTS[part].check(images_of[part], subset)
        path = annotation_file(coco, part)
        if not check and not path.is_file():
            raise DataError(f"'{path}' does not exist (annotations_trainval2017.zip)")
    for part, found in images_of.items():
        images = coco / part
        if check:
            need_all(
                found, list_stems(out, ".png", "masks"), f"{{}} images have no mask in '{out}'"
            )
            jobs = (Job(images / f"{s}.jpg", out / f"{s}.png", 0, 0, []) for s in found)
            outcomes = map_files(check_one, jobs, len(found), nproc, f"{part}: check")
        else:
            annotations = Annotations(annotation_file(coco, part), crowd)
            need_all(annotations.sizes, found, f"{{}} annotated images are missing in '{images}'")
            need_all(found, annotations.sizes, f"{{}} images of '{images}' are not annotated")
            # Masks made elsewhere are noticed at once, not at the end of the hour.
            there = (job for job in annotations.jobs(images, out) if job.target.exists())
            for job in islice(there, 20):
                convert_one(job)
            jobs = annotations.jobs(images, out)
            outcomes = map_files(convert_one, jobs, len(found), nproc, f"{part}: masks")
        written = sum(outcome.is_new for outcome in outcomes)
        present = np.logical_or.reduce([outcome.present for outcome in outcomes])
        state = f"{written} written, {len(outcomes) - written} there already"
        print(f"{part}: masks in '{out}': {state}; values {list_values(present)}")
