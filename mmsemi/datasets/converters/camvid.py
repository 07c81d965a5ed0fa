# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CamVid in both public layouts, as ``images/{train,val,test}`` and ``labels/{train,val,test}``.

- SegNet's: ``train``, ``trainannot``, ``val``, ... at 480x360, masks with 0-10 and 11 = void. The
  masks are taken over, 11 becomes 255.
- The original: 701 images of 960x720 in one folder, ``<id>_L.png`` in the colours of 32 classes in
  another. They are grouped to the 11 classes and halved (images by area, masks by nearest pixel).
  SegNet's masks were made from these; that the grouping gives them pixel for pixel is not
  established.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ...errors import DataError
from ..camvid import CamVidDataset
from .common import (
    IGNORE,
    IdList,
    Outcome,
    check_size,
    check_values,
    check_written,
    convert_masks,
    list_stems,
    need_all,
    read_mask,
    read_picture,
    unpacked,
    write_image,
    write_mask,
)

CLASSES: tuple[str, ...] = CamVidDataset.METAINFO["classes"]
PARTS = {
    "train": IdList(
        "train", 367, "0f2b2149e1c9f0df5c4740d2532d6418b8163c47bd2994f198fc05a8a2108507"
    ),
    "val": IdList("val", 101, "f80b1b93a53eb17ca8cdd58b5d6e8b0301f1efe0e3a17a7f63454d8c6473150d"),
    "test": IdList("test", 233),
}
# The 32 classes of the original: colour, and which of the 11 they belong to (None = void).
ORIGINAL: dict[str, tuple[tuple[int, int, int], str | None]] = {
    "Sky": ((128, 128, 128), "Sky"),
    "Building": ((128, 0, 0), "Building"),
    "Wall": ((64, 192, 0), "Building"),
    "Tunnel": ((64, 0, 64), "Building"),
    "Archway": ((192, 0, 128), "Building"),
    "Bridge": ((0, 128, 64), "Building"),
    "Column_Pole": ((192, 192, 128), "Pole"),
    "TrafficCone": ((0, 0, 64), "Pole"),
    "Road": ((128, 64, 128), "Road"),
    "LaneMkgsDriv": ((128, 0, 192), "Road"),
    "LaneMkgsNonDriv": ((192, 0, 64), "Road"),
    "Sidewalk": ((0, 0, 192), "Pavement"),
    "ParkingBlock": ((64, 192, 128), "Pavement"),
    "RoadShoulder": ((128, 128, 192), "Pavement"),
    "Tree": ((128, 128, 0), "Tree"),
    "VegetationMisc": ((192, 192, 0), "Tree"),
    "SignSymbol": ((192, 128, 128), "SignSymbol"),
    "Misc_Text": ((128, 128, 64), "SignSymbol"),
    "TrafficLight": ((0, 64, 64), "SignSymbol"),
    "Fence": ((64, 64, 128), "Fence"),
    "Car": ((64, 0, 128), "Car"),
    "SUVPickupTruck": ((64, 128, 192), "Car"),
    "Truck_Bus": ((192, 128, 192), "Car"),
    "Train": ((192, 64, 128), "Car"),
    "OtherMoving": ((128, 64, 64), "Car"),
    "Pedestrian": ((64, 64, 0), "Pedestrian"),
    "Child": ((192, 128, 64), "Pedestrian"),
    "CartLuggagePram": ((64, 0, 192), "Pedestrian"),
    "Animal": ((64, 128, 64), "Pedestrian"),
    "Bicyclist": ((0, 128, 192), "Bicyclist"),
    "MotorcycleScooter": ((192, 0, 192), "Bicyclist"),
    "Void": ((0, 0, 0), None),
}
# Share of pixels of unlisted colours up to which they count as void (retouched pixels).
MAX_STRAY = 0.001


class Job(NamedTuple):
    """One image with its mask."""

    image: Path
    mask: Path
    image_target: Path
    target: Path
    is_original: bool
    halve: bool


def group_colours(colours_HW3: np.ndarray, path: Path) -> np.ndarray:
    """A mask in the 32 colours as (H, W) uint8 of the 11 classes and 255.

    Raises:
        DataError: More than ``MAX_STRAY`` of the pixels have another colour.
    """
    codes = colours_HW3.astype(np.int64) @ np.array([65536, 256, 1])
    known = {r * 65536 + g * 256 + b: name for (r, g, b), name in ORIGINAL.values()}
    ordered = np.array(sorted(known))
    values = np.array(
        [IGNORE if known[code] is None else CLASSES.index(known[code]) for code in ordered.tolist()]
    )
    place = np.searchsorted(ordered, codes).clip(0, len(ordered) - 1)
    is_known = ordered[place] == codes
    if (~is_known).mean() > MAX_STRAY:
        stray = colours_HW3[~is_known][0].tolist()
        raise DataError(
            f"'{path}' has the colour {stray}, which is none of CamVid's 32 ({(~is_known).mean():.1%} "
            "of its pixels are unknown): masks must be the original *_L.png"
        )
    return np.where(is_known, values[place], IGNORE).astype(np.uint8)


def convert_one(job: Job) -> Outcome:
    """Write one image and its mask."""
    if job.is_original:
        mask = group_colours(np.array(read_picture(job.mask)), job.mask)
    else:
        mask = read_mask(job.mask)
        check_values(mask, len(CLASSES) + 1, job.mask)
        mask[mask == len(CLASSES)] = IGNORE
    check_size(mask, job.mask, job.image)
    image = read_picture(job.image)
    if job.halve:
        size = mask.shape[1] // 2, mask.shape[0] // 2
        image = image.resize(size, Image.Resampling.BOX)
        mask = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    options = {"quality": 95, "subsampling": 0} if job.image_target.suffix == ".jpg" else {}
    write_image(job.image_target, image, **options)
    return Outcome(write_mask(job.target, mask), check_values(mask, len(CLASSES), job.target))


def part_of(name: str) -> str:
    """The part of an image of the original release, by sequence and frame.

    Train, val and test are those of Sturgess et al. (2009), which SegNet uses.

    Raises:
        DataError: The name is none of CamVid's.
    """
    match = re.fullmatch(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)", name)
    if match is None:
        raise DataError(f"'{name}' is no image of CamVid (0001TP_*, 0006R0_*, 0016E5_*, Seq05VD_*)")
    sequence, frame = match[1], int(match[2])
    if sequence == "Seq05VD" or (sequence == "0001TP" and frame > 8520):
        return "test"
    return "val" if sequence == "0016E5" and 7959 <= frame <= 8159 else "train"


def find_original(folder: Path) -> tuple[Path, Path] | None:
    """The folders of images and of ``*_L.png``, by what is in them, at most two levels down."""
    below = (path for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern)))
    folders = [folder, *(path for path in below if path.is_dir())]
    labels = [path for path in folders if next(path.glob("*_L.png"), None)]
    images = [path for path in folders if next(path.glob("0001TP_*[0-9].png"), None)]
    if not labels or not images:
        return None
    for kind, found in (("masks (*_L.png)", labels), ("images (0001TP_*.png)", images)):
        if len(found) > 1:
            raise DataError(
                f"several folders hold {kind}: {', '.join(map(str, found))}; pass a folder with one"
            )
    return images[0], labels[0]


def find_pairs(folder: Path) -> tuple[dict[str, list[tuple[Path, Path]]], bool]:
    """Image and mask paths by part, and whether it is the original layout.

    Raises:
        DataError: It is neither layout, or an image or a mask has no partner.
    """
    for root in (folder, folder / "CamVid", *sorted(folder.glob("*/CamVid"))):
        if (root / "trainannot").is_dir():
            parts = [part for part in PARTS if (root / part).is_dir()]
            pairs = {}
            for part in parts:
                names = list_stems(root / part, ".png", "images")
                masks = list_stems(root / f"{part}annot", ".png", "masks")
                need_all(names, masks, f"{{}} images have no mask in '{root / part}annot'")
                need_all(masks, names, f"{{}} masks have no image in '{root / part}'")
                pairs[part] = [
                    (root / part / f"{name}.png", root / f"{part}annot" / f"{name}.png")
                    for name in names
                ]
            return pairs, False
    original = find_original(folder) if folder.is_dir() else None
    if original is None:
        raise DataError(
            f"'{folder}' is no CamVid folder: expected SegNet's train, trainannot, val, ... or the "
            "original images (0001TP_006690.png, ...) and masks (0001TP_006690_L.png, ...)"
        )
    images, labels = original
    names = [name for name in list_stems(images, ".png", "images") if not name.endswith("_L")]
    masks = list_stems(labels, "_L.png", "masks")
    need_all(names, masks, f"{{}} images have no *_L.png in '{labels}'")
    need_all(masks, names, f"{{}} masks have no image in '{images}'")
    pairs = {part: [] for part in PARTS}
    for name in names:
        pairs[part_of(name)].append((images / f"{name}.png", labels / f"{name}_L.png"))
    return {part: items for part, items in pairs.items() if items}, True


def convert(
    camvid: Path,
    out: Path = Path("data/camvid"),
    image_format: str = "jpg",
    full_size: bool = False,
    subset: bool = False,
    nproc: int = 1,
) -> None:
    """Make the plain layout, see the module's text, from a folder or a zip file."""
    with unpacked(camvid, out) as folder:
        _convert(folder, out, image_format, full_size, subset, nproc)


def _convert(
    camvid: Path, out: Path, image_format: str, full_size: bool, subset: bool, nproc: int
) -> None:
    pairs, is_original = find_pairs(camvid)
    print(f"'{camvid}': {'original' if is_original else 'SegNet'} layout")
    need_all(("train", "val"), pairs, f"{{}} of the parts train and val are not in '{camvid}'")
    jobs = []
    for part, items in pairs.items():
        PARTS[part].check([image.stem for image, _ in items], subset)
        jobs += [
            Job(
                image,
                mask,
                out / "images" / part / f"{image.stem}.{image_format}",
                out / "labels" / part / f"{image.stem}.png",
                is_original,
                is_original and not full_size,
            )
            for image, mask in items
        ]
    convert_masks(convert_one, jobs, nproc, out)
    check_written(dict(type="CamVidDataset", img_suffix=f".{image_format}"), out, nproc)
    if image_format != "jpg":
        print(f"the images are PNG: set img_suffix='.{image_format}' in the data sets")
