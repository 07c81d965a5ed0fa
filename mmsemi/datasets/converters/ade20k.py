# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""ADE20K (SceneParse150): nothing to convert; layout, pairs and values are checked.

Whether 0 still means "other" and 150 occurs decides between a result and nonsense: masks that were
moved to 0-149 beforehand lose their first class in a data set with ``reduce_zero_label``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DataError
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
    need_folder,
    read_mask,
    write_list,
)

NUM_VALUES = 151  # 0 = other, 150 classes
PARTS = {
    "training": IdList.of_master("training", "ade"),
    "validation": IdList("validation", 2000),
}


class Pair(NamedTuple):
    """An image and its mask."""

    image: Path
    mask: Path


def check_one(pair: Pair) -> Outcome:
    """Check one pair."""
    mask = read_mask(pair.mask)
    # 255 is legal here: it shows below that somebody moved the classes.
    present = check_values(mask, NUM_VALUES, pair.mask)
    check_size(mask, pair.mask, pair.image)
    return Outcome(False, present)


def convert(ade: Path, subset: bool = False, nproc: int = 1) -> None:
    """Check the folders and write the lists, see the module's text."""
    root = ade
    if not (root / "images").is_dir() and (root / "ADEChallengeData2016").is_dir():
        root = root / "ADEChallengeData2016"
    need_folder(root / "images", "of ADEChallengeData2016.zip, not of the full ADE20K")
    parts: dict[str, list[str]] = {}
    pairs: list[Pair] = []
    for part, expected in PARTS.items():
        images, masks = root / "images" / part, root / "annotations" / part
        parts[part] = ids = list_stems(images, ".jpg", "images")
        with_mask = list_stems(masks, ".png", "masks")
        expected.check(ids, subset)
        need_all(ids, with_mask, f"{{}} images have no mask in '{masks}'")
        need_all(with_mask, ids, f"{{}} masks have no image in '{images}'")
        pairs += [Pair(images / f"{name}.jpg", masks / f"{name}.png") for name in ids]
    outcomes = map_files(check_one, pairs, len(pairs), nproc, "masks")
    present = np.logical_or.reduce([outcome.present for outcome in outcomes])
    print(f"masks: {len(pairs)} checked; values {list_values(present)}")
    if present[IGNORE]:
        raise DataError(
            f"masks of '{root}' have the value 255: somebody moved 0 (other) to 255 and the classes "
            "to 0-149; take the masks of the official archive, or set reduce_zero_label=False"
        )
    if not subset and not (present[0] and present[NUM_VALUES - 1]):
        raise DataError(
            f"no mask of '{root}' has the value {0 if not present[0] else NUM_VALUES - 1}: these are "
            "not the masks of the official archive (0 = other, 1-150 = classes)"
        )
    for part, ids in parts.items():
        write_list(root / f"{part}.txt", ids)
