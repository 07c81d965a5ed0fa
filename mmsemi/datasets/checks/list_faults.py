# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""List files and folders: lines that are read otherwise than meant, files that are left out."""

from __future__ import annotations

import os.path as osp
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

from ..files import IMAGE_SUFFIXES
from ..splits import canonical_id, read_id_list
from .findings import Find, Hit
from .survey import ListFile, Survey

# --- Lists ----------------------------------------------------------------------------------------


def lists(test: Callable[[ListFile], bool | Sequence[str]]) -> Find:
    """List files with lines that a test returns, or with nothing but itself to show (True)."""

    def find(survey: Survey) -> Iterator[Hit]:
        for one in survey.lists:
            seen = test(one)
            examples = [one.path] if seen is True else seen or ()
            yield Hit(one.path, examples, dict(problem=one.problem))

    return find


def two_columns(survey: Survey) -> Iterator[Hit]:
    """Lines of several words that mmseg reads as one name, for which there is no image."""
    for one in survey.lists:
        wide = [(number, line) for number, line in one.lines if len(line.split()) > 1]
        if one.is_stock and wide:
            start, end = osp.join(one.part.img_dir, ""), one.part.img_suffix
            wide = [w for w in wide if survey.is_missing("image", start + w[1].strip() + end)]
            yield Hit(one.path, [f"line {n}: {' '.join(line.split())}" for n, line in wide])


def repeated_lines(one: ListFile) -> list[str]:
    """Names that a list has more than once."""
    names = [(number, line.split()[0]) for number, line in one.lines]
    counts, last = Counter(name for _, name in names), {name: number for number, name in names}
    return [f"line {last[name]}: {name}" for name, count in counts.items() if count > 1]


def blank_lines(one: ListFile) -> list[str]:
    """Empty lines, which mmseg reads as a name."""
    return [f"line {number}" for number in one.blank] if one.is_stock else []


# --- The two lists of a split ---------------------------------------------------------------------


def both_halves(survey: Survey) -> Iterator[Hit]:
    """Images in both lists of a ``ListSplit``."""
    split = survey.split
    if split.get("labeled") and split.get("unlabeled") and not split.get("allow_overlap"):
        yield Hit("split", _in_both(split["labeled"], split["unlabeled"]), split)


def _in_both(first: str, second: str) -> list[str]:
    """Images of two lists, which may write a path in different ways (``a/1.png``, ``1``)."""
    by_name: dict[str, list[str]] = {}
    try:
        for name in read_id_list(first):
            by_name.setdefault(canonical_id(name), []).append(name)
        names = read_id_list(second)
    except (OSError, ValueError):  # which other rules report
        return []
    return sorted(n for n in names if any(_same(n, o) for o in by_name.get(canonical_id(n), ())))


def _same(first: str, second: str) -> bool:
    """Whether one path ends in the other."""
    one, two = (
        PurePosixPath(p.replace("\\", "/").lstrip("/")).parent.parts for p in (first, second)
    )
    shared = min(len(one), len(two))
    return shared == 0 or one[-shared:] == two[-shared:]


# --- Folders --------------------------------------------------------------------------------------


def lonely_masks(survey: Survey) -> Iterator[Hit]:
    """Masks of a folder without an image."""
    for name, part, images, masks in survey.folders:
        stems = {f.removesuffix(part.img_suffix) for f in images if f.endswith(part.img_suffix)}
        masks = [mask for mask in masks if mask.endswith(part.mask_suffix)]
        lonely = [mask for mask in masks if mask.removesuffix(part.mask_suffix) not in stems]
        yield Hit(name, [osp.join(part.mask_dir, mask) for mask in lonely], vars(part))


def other_suffixes(survey: Survey) -> Iterator[Hit]:
    """Images of a folder that the data set leaves out."""
    for name, part, images, masks in survey.folders:
        masks = {osp.join(part.mask_dir, mask) for mask in masks}
        others = [
            osp.join(part.img_dir, file)
            for file in images
            if file.lower().endswith(IMAGE_SUFFIXES) and not file.endswith(part.img_suffix)
        ]
        yield Hit(name, [path for path in others if path not in masks], vars(part))
