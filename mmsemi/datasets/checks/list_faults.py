# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""List files and folders: lines that are read otherwise than meant, files that are left out."""

from __future__ import annotations

import os.path as osp
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ..files import IMAGE_SUFFIXES
from ..splits import canonical_id, name_in_line, read_id_list, same_path
from .findings import Find, Hit
from .survey import ListFile, Survey, list_folder

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
        wide = [(n, line) for n, line in _without_image(one, survey) if len(line.split()) > 1]
        yield Hit(one.path, [f"line {n}: {' '.join(line.split())}" for n, line in wide])


def other_names(survey: Survey) -> Iterator[Hit]:
    """Lines that name an image in another way than mmseg reads them."""
    for one in survey.lists:
        without = _without_image(one, survey)
        files = list_folder(one.part.img_dir, one.part) if without else []
        known = {canonical_id(file): file.removesuffix(one.part.img_suffix) for file in files}
        named = [(n, line, known.get(canonical_id(name_in_line(line)))) for n, line in without]
        examples = [f"line {n}: {line}, which is '{name}'" for n, line, name in named if name]
        yield Hit(one.path, examples, vars(one.part) if one.part else {})


def _without_image(one: ListFile, survey: Survey) -> list[tuple[int, str]]:
    """Lines that mmseg reads as a name for which there is no image."""
    if not one.is_stock:
        return []
    part = one.part
    return [
        (number, name)
        for number, name in one.lines
        if survey.is_missing("image", osp.join(part.img_dir, name + part.img_suffix))
    ]


def repeated_lines(one: ListFile) -> list[str]:
    """Names that a list has more than once."""
    counts, last = Counter(name for _, name in one.lines), {n: number for number, n in one.lines}
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
    return sorted(
        n for n in names if any(same_path(n, o) for o in by_name.get(canonical_id(n), ()))
    )


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
