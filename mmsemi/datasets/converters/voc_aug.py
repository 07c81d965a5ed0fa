# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""PASCAL VOC 2012 with the extra masks of SBD: one folder of masks, one list of 10,582 images.

Per image the better mask is taken: the official one for the 2,913 images of VOC train and val, SBD's
for the others. The published settings read one merged folder; mmseg's converter leaves the two
kinds in two folders, and its own holds SBD's coarser masks of VOC images beside.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmseg.datasets import PascalVOCDataset
from scipy.io import loadmat

from ...errors import DataError
from ...utils.files import path_below
from ..splits import read_id_list
from .common import (
    IdList,
    Outcome,
    TargetDiffersError,
    check_size,
    check_values,
    convert_masks,
    list_stems,
    need_all,
    need_folder,
    read_mask,
    write_list,
    write_mask,
)

TRAIN_AUG = IdList.of_master("train_aug (VOC train + SBD - VOC val)", "voc_aug")
TRAIN = IdList.of_master("VOC train", "voc_train")
VAL = IdList.of_master("VOC val", "voc_val")
PALETTE = PascalVOCDataset.METAINFO["palette"]
NUM_CLASSES = 21


class Job(NamedTuple):
    """One mask to write."""

    source: Path
    image: Path
    target: Path


def read_sbd(path: Path) -> np.ndarray:
    """The class mask of an SBD file ``cls/<id>.mat``, (H, W) uint8."""
    try:
        content = loadmat(path, squeeze_me=True, struct_as_record=False)
        mask = np.asarray(content["GTcls"].Segmentation)
    except (KeyError, AttributeError):
        raise DataError(
            f"'{path}' has no GTcls.Segmentation: the class masks of SBD are in its folder 'cls', "
            "not 'inst'"
        ) from None
    except Exception as error:  # scipy raises many kinds for broken files
        raise DataError(f"'{path}' cannot be read: {error}") from None
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise DataError(f"'{path}' holds {mask.dtype} of shape {mask.shape}, not a mask")
    return mask


def convert_one(job: Job) -> Outcome:
    """Write one mask as palette PNG; 255 (border) stays."""
    mask = read_sbd(job.source) if job.source.suffix == ".mat" else read_mask(job.source)
    present = check_values(mask, NUM_CLASSES, job.source)
    check_size(mask, job.source, job.image)
    return Outcome(write_mask(job.target, mask, PALETTE), present)


def find_voc(folder: Path) -> Path:
    """The folder with JPEGImages: VOC2012, or one that contains it."""
    for root in (folder, folder / "VOC2012", folder / "VOCdevkit" / "VOC2012"):
        if (root / "JPEGImages").is_dir():
            return root
    raise DataError(
        f"'{folder}' is no VOC 2012 folder: it has no JPEGImages, VOC2012/JPEGImages or "
        "VOCdevkit/VOC2012/JPEGImages"
    )


def find_sbd(folder: Path) -> tuple[dict[str, Path], set[str]]:
    """The .mat files of SBD by id, and the ids of its own lists."""
    candidates = (folder, folder / "dataset", folder / "benchmark_RELEASE" / "dataset")
    root = next((root for root in candidates if (root / "cls").is_dir()), None)
    if root is None:
        raise DataError(
            f"'{folder}' is no SBD folder: there is no cls, dataset/cls or "
            "benchmark_RELEASE/dataset/cls in it"
        )
    ids = list_stems(root / "cls", ".mat", "SBD's class masks")
    listed = {name for part in ("train", "val") for name in read_id_list(root / f"{part}.txt")}
    need_all(listed, ids, f"{{}} images of SBD's lists have no file in '{root / 'cls'}'")
    return {name: root / "cls" / f"{name}.mat" for name in ids}, listed


def convert(
    voc: Path,
    sbd: Path | None = None,
    masks: Path | None = None,
    out: Path | None = None,
    subset: bool = False,
    nproc: int = 1,
) -> None:
    """Make the merged folder and the list, see the module's text."""
    root = find_voc(voc)
    lists = root / "ImageSets" / "Segmentation"
    out = out or root / "SegmentationClassAug"
    train, val = (read_id_list(lists / f"{part}.txt") for part in ("train", "val"))
    TRAIN.check(train, subset)
    VAL.check(val, subset)

    if sbd:
        sources, extra = find_sbd(sbd)
    else:
        ids = list_stems(masks, ".png", "masks of the images that VOC has none of")
        sources, extra = {name: masks / f"{name}.png" for name in ids}, set(ids)
    train_aug = sorted({*train, *extra} - {*val})
    TRAIN_AUG.check(train_aug, subset)
    wanted = sorted({*train_aug, *val})
    images = root / "JPEGImages"
    need_all(
        wanted,
        list_stems(images, ".jpg", "the images"),
        f"{{}} images are missing in '{images}'",
    )

    official = need_folder(root / "SegmentationClass", "VOC's own masks")
    has_official = list_stems(official, ".png", "")
    need_all({*train, *val}, has_official, f"{{}} official masks are missing in '{official}'")
    sources.update({name: official / f"{name}.png" for name in (*train, *val)})
    jobs = [
        Job(sources[name], images / f"{name}.jpg", path_below(out, f"{name}.png"))
        for name in wanted
    ]
    try:
        convert_masks(convert_one, jobs, nproc, out)
    except TargetDiffersError as error:
        raise TargetDiffersError(
            f"{error}. If '{out}' is what mmseg's converter wrote (SBD's masks of VOC images "
            "too), rename that folder and pass its new name as --masks, or give another --out"
        ) from None
    write_list(lists / "trainaug.txt", train_aug)
    if out.resolve() != (root / "SegmentationClassAug").resolve():
        print(f"masks are in '{out}': set data_prefix.seg_map_path to it")
