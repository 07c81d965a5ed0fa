# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Nuclei of the Data Science Bowl 2018, stage 1, as ``images/{train,val}`` and ``labels/{train,val}``.

The archive has a folder per image, ``stage1_train/<id>/images/<id>.png`` and ``masks/*.png``, one mask per
nucleus. Parts of ours, by a rule that anyone can repeat: ids in the order of sha256("nuclei" + id), the first
100 are val, the next 100 belong to no part, the others are train; names are ``<part>_<rank>``. A pixel of any
mask is nucleus (1), all others are background (0). Sides above 512 are reduced by area averaging, masks by
the share of a pixel that is nucleus, one half and less being background.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ...errors import DataError
from .common import (
    Outcome,
    check_size,
    check_values,
    check_written,
    convert_masks,
    image_size,
    list_stems,
    read_mask,
    read_picture,
    unpacked,
    write_image,
    write_mask,
)

#: Images of the complete archive, of val, and of those that belong to no part.
NUM_IMAGES, NUM_VAL, NUM_LEFT_OUT = 664, 100, 100
MAX_SIDE = 512
#: Of the lines ``<name> <width>x<height>`` of all images, train first: which size a name has follows from the ids,
#: so other ids or another order give another hash. (The ids themselves were not at hand when this was written.)
SIZES_SHA256 = "6a00ae0665341d2b8d0092bf0015a0ff8d58fef825adb0740f00ab957f257571"
#: Of the masks, in the order of names, of the images that are not reduced; those of the corrected masks.
MASKS_SHA256 = "56afd7f0b4ecf995c9ce5eb07e73590e79b7b3613277e3c9179860467e2caa10"


class Job(NamedTuple):
    """One image with its masks."""

    image: Path
    masks: tuple[Path, ...]
    image_target: Path
    target: Path


def find_images(folder: Path) -> Path:
    """The folder that holds a folder per image.

    Raises:
        DataError: There is none.
    """
    for root in (folder, folder / "stage1_train", *sorted(folder.glob("*/stage1_train"))):
        if next(root.glob("*/masks"), None) is not None:
            return root
    raise DataError(
        f"'{folder}' is no folder of nuclei: expected stage1_train/<id>/images/*.png and masks/*.png"
    )


def parts_of(ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of train and val, in the order of their ranks."""
    ordered = sorted(ids, key=lambda name: hashlib.sha256(f"nuclei{name}".encode()).hexdigest())
    return {"train": ordered[NUM_VAL + NUM_LEFT_OUT :], "val": ordered[:NUM_VAL]}


def read_union(job: Job) -> np.ndarray:
    """(H, W) bool: pixels that belong to any of an image's masks.

    Raises:
        DataError: A mask cannot be read, or has another size than the image.
    """
    union = None
    for path in job.masks:
        mask = read_mask(path)
        check_size(mask, path, job.image)
        union = mask > 0 if union is None else union | (mask > 0)
    return union


def reduced_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height with a longer side of at most :data:`MAX_SIDE`."""
    scale = min(1.0, MAX_SIDE / max(size))
    return round(size[0] * scale), round(size[1] * scale)


def convert_one(job: Job) -> Outcome:
    """Write one image and its mask."""
    mask = read_union(job)
    image = read_picture(job.image)
    size = reduced_size(image.size)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BOX)
        share = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX)
        mask = np.asarray(share) > 0.5
    mask = mask.astype(np.uint8)
    write_image(job.image_target, image, quality=95, subsampling=0)
    return Outcome(write_mask(job.target, mask), check_values(mask, 2, job.target, ignore=None))


def make_job(folder: Path, part: str, rank: int, out: Path) -> Job:
    """What one image needs.

    Raises:
        DataError: It has not one image, or no mask.
    """
    images = list_stems(folder / "images", ".png", "the image")
    masks = list_stems(folder / "masks", ".png", "a mask for each nucleus")
    if len(images) != 1 or not masks:
        raise DataError(
            f"'{folder}' has {len(images)} images and {len(masks)} masks: one and some expected"
        )
    name = f"{part}_{rank:03}"
    return Job(
        folder / "images" / f"{images[0]}.png",
        tuple(folder / "masks" / f"{mask}.png" for mask in masks),
        out / "images" / part / f"{name}.jpg",
        out / "labels" / part / f"{name}.png",
    )


def sizes_sha256(jobs: Sequence[Job]) -> str:
    """Hash of the names that images get, with the sizes that they will have."""
    lines = (
        "{} {}x{}\n".format(job.target.stem, *reduced_size(image_size(job.image))) for job in jobs
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def masks_sha256(targets: Sequence[Path]) -> str:
    """Hash of the masks that are smaller than those that may have been reduced."""
    digest = hashlib.sha256()
    for path in targets:
        if max(image_size(path)) < MAX_SIDE:
            digest.update(read_mask(path).tobytes())
    return digest.hexdigest()


def convert(
    nuclei: Path, out: Path = Path("data/nuclei"), subset: bool = False, nproc: int = 1
) -> None:
    """Make the plain layout, see the module's text, from a folder or a zip file."""
    with unpacked(nuclei, out) as folder:
        root = find_images(folder)
        jobs = plan(root, out, subset)
        convert_masks(convert_one, jobs, nproc, out)
    classes = dict(classes=("background", "nucleus"))
    check_written(dict(type="BaseSegDataset", metainfo=classes), out, nproc)
    if subset:
        return
    masks = masks_sha256([job.target for job in jobs])
    if masks == MASKS_SHA256:
        print(f"masks: sha256 {masks[:16]} as expected")
    else:
        print(
            f"note: masks: sha256 {masks[:16]} instead of {MASKS_SHA256[:16]}: they are not the corrected "
            "ones that docs/results/nuclei.md was made with"
        )


def plan(root: Path, out: Path, subset: bool) -> list[Job]:
    """All images that are written, train first.

    Raises:
        DataError: With ``subset=False``, the images are not those of the complete archive; an image
            or its masks are missing.
    """
    ids = sorted(path.name for path in root.iterdir() if path.is_dir())
    if len(ids) != NUM_IMAGES and not subset:
        raise DataError(
            f"'{root}' has {len(ids)} images, the complete archive {NUM_IMAGES}: complete the download, "
            "or pass --subset if a part of it is meant, whose parts are then others"
        )
    parts = parts_of(ids)
    jobs = [
        make_job(root / name, part, rank, out)
        for part, names in parts.items()
        for rank, name in enumerate(names)
    ]
    print(", ".join(f"{len(names)} {part} images" for part, names in parts.items()))
    sizes = sizes_sha256(jobs)
    if sizes != SIZES_SHA256 and not subset:
        raise DataError(
            f"'{root}': names and sizes of the images have the sha256 {sizes[:16]} instead of "
            f"{SIZES_SHA256[:16]}: the ids are not those of the Data Science Bowl 2018, stage 1; pass "
            "--subset to convert them all the same"
        )
    print(f"names and sizes: sha256 {sizes[:16]}{'' if subset else ' as expected'}")
    return jobs
