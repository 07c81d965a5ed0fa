# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""List files and folders: lines that are read otherwise than meant, files that are left out."""

from __future__ import annotations

import os.path as osp
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath

from ..files import IMAGE_SUFFIXES
from ..sources import Part
from ..splits import canonical_id, read_id_list
from .rules import NAMES, Hit, rule
from .survey import ListFile, Survey

# --- Lists ----------------------------------------------------------------------------------------


def list_rule(
    severity: str, code: str, text: str, fix: str
) -> Callable[[Callable[[ListFile, Survey], Sequence[str]]], None]:
    """A rule that sees one list at a time; the function returns the lines that it applies to."""

    def register(test: Callable[[ListFile, Survey], Sequence[str]]) -> None:
        @rule(severity, code, text, fix, NAMES)
        def find(survey: Survey) -> Iterator[Hit]:
            for one in survey.lists:
                yield Hit(one.path, test(one, survey), dict(problem=one.problem))

    return register


@list_rule("error", "list-missing", "{problem}", "add the list, or correct its path")
def _missing(one: ListFile, _) -> list[str]:
    return [one.path] if one.problem else []


@list_rule(
    "error",
    "list-not-text",
    "the list file is no UTF-8 text",
    "save it as plain UTF-8 text with one image a line",
)
def _no_text(one: ListFile, _) -> list[str]:
    return [one.path] if one.text is None and not one.problem else []


@list_rule(
    "error",
    "list-byte-order-mark",
    "the file starts with a byte order mark, which becomes part of the first name",
    "save it as UTF-8 without BOM",
)
def _byte_order_mark(one: ListFile, _) -> list[str]:
    return [one.path] if (one.text or "").startswith("\ufeff") else []


@list_rule("error", "list-empty", "the list names no image", "write one image a line")
def _empty(one: ListFile, _) -> list[str]:
    return [one.path] if one.text is not None and not one.lines else []


@list_rule(
    "error",
    "list-two-columns",
    "several names in a line: the data set reads them as one name with blanks",
    "keep the first column, without suffix",
)
def _two_columns(one: ListFile, survey: Survey) -> list[str]:
    def is_image(line: str) -> bool:
        path = osp.join(one.part.img_dir, line.strip() + one.part.img_suffix)
        return not survey.is_missing("image", path)

    wide = [(number, line) for number, line in one.lines if len(line.split()) > 1]
    if not one.is_stock:
        return []
    return [f"line {n}: {' '.join(line.split())}" for n, line in wide if not is_image(line)]


@list_rule(
    "warning",
    "list-duplicate-line",
    "an image is listed more than once",
    "remove the repeated lines",
)
def _twice(one: ListFile, _) -> list[str]:
    names = [(number, line.split()[0]) for number, line in one.lines]
    counts, last = Counter(name for _, name in names), {name: number for number, name in names}
    return [f"line {last[name]}: {name}" for name, count in counts.items() if count > 1]


@list_rule(
    "warning",
    "list-blank-line",
    "the data set reads an empty line as an image without a name",
    "remove the empty lines",
)
def _blank(one: ListFile, _) -> list[str]:
    return [f"line {number}" for number in one.blank] if one.is_stock else []


@list_rule(
    "info",
    "list-crlf",
    "the lines end in CR LF: read correctly here, not by every other tool",
    "save it with Unix line ends, e.g. `sed -i 's/\\r$//'`",
)
def _crlf(one: ListFile, _) -> list[str]:
    return [one.path] if one.text and b"\r" in one.data else []


# --- The two lists of a split ---------------------------------------------------------------------


@rule(
    "error",
    "labeled-unlabeled-overlap",
    "images are labelled in '{labeled}' and unlabelled in '{unlabeled}'",
    "remove them from one list, or set split.allow_overlap=True",
    NAMES,
)
def _overlap(survey: Survey) -> Iterator[Hit]:
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


def _lonely_masks(name: str, part: Part, survey: Survey) -> Hit:
    files = survey.list_folder(part.img_dir, part)
    images = {f.removesuffix(part.img_suffix) for f in files if f.endswith(part.img_suffix)}
    masks = survey.list_folder(part.mask_dir, part)
    lonely = [
        osp.join(part.mask_dir, mask)
        for mask in masks
        if mask.endswith(part.mask_suffix) and mask.removesuffix(part.mask_suffix) not in images
    ]
    return Hit(name, lonely, vars(part))


def _other_suffixes(name: str, part: Part, survey: Survey) -> Hit:
    masks = {osp.join(part.mask_dir, mask) for mask in survey.list_folder(part.mask_dir, part)}
    others = [
        osp.join(part.img_dir, file)
        for file in survey.list_folder(part.img_dir, part)
        if file.lower().endswith(IMAGE_SUFFIXES) and not file.endswith(part.img_suffix)
    ]
    return Hit(name, [path for path in others if path not in masks], vars(part))


def _folders(look: Callable[[str, Part, Survey], Hit], survey: Survey) -> Iterator[Hit]:
    for name, part in survey.parts:
        # With a list, other files in the folder are the rule (PASCAL VOC).
        if part.img_dir and part.mask_dir and not part.list_file:
            yield look(name, part, survey)


rule(
    "warning",
    "mask-without-image",
    "a mask in '{mask_dir}' has no image in '{img_dir}'",
    "add the image with the suffix '{img_suffix}', or remove the mask",
    NAMES,
)(partial(_folders, _lonely_masks))
rule(
    "warning",
    "image-other-suffix",
    "left out, since the data set takes '*{img_suffix}' only",
    "rename the files, or correct img_suffix",
    NAMES,
)(partial(_folders, _other_suffixes))
