# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Names of images that do not depend on folders and file formats, their hash, and list files."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ...errors import DataError
from ...utils import close_matches
from ..files import IMAGE_SUFFIXES

Ids = Sequence[str]
LabeledUnlabeled = tuple[list[str], list[str]]


def without_suffix(name: str) -> str:
    """A name or path without the suffix of a picture; any other dot belongs to the name."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def canonical_id(path: str) -> str:
    """File-independent name of an image: the base name without suffix or Cityscapes ending.

    >>> canonical_id('leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png')
    'aachen_000000_000019'
    """
    return without_suffix(path.replace("\\", "/").rsplit("/", 1)[-1]).removesuffix("_leftImg8bit")


def ids_sha256(ids: Ids, order: bool = False) -> str:
    """SHA-256 of the canonical ids, one a line with a final newline; sorted unless ``order``."""
    names = [canonical_id(item) for item in ids]
    text = "\n".join(names if order else sorted(names)) + "\n"
    return hashlib.sha256(text.encode()).hexdigest()


def read_id_list(path: str | os.PathLike) -> list[str]:
    """First words of the lines of a list file; LF or CRLF, with or without a byte order mark.

    Raises:
        DataError: It does not exist, is no text, holds no line, or the same image twice.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"list file '{path}' does not exist")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"list file '{path}' is no UTF-8 text with one image a line") from None
    names: dict[str, None] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        name = line.split()[0]
        if name in names:
            blank = "" if line.split() == [name] else " (a name ends at the first blank)"
            raise DataError(f"list file '{path}' names '{name}' twice{blank}")
        names[name] = None
    if not names:
        raise DataError(f"list file '{path}' is empty")
    return list(names)


def match_ids(lines: Ids, ids: Ids, source: str) -> list[str]:
    """Find each line of a list among a data set's ids, by canonical id and then by path ending.

    Raises:
        DataError: A line matches no image, or several.
    """
    by_name: dict[str, list[str]] = {}
    for item in ids:
        by_name.setdefault(canonical_id(item), []).append(item)
    found = []
    for line in lines:
        candidates = by_name.get(canonical_id(line), [])
        if len(candidates) > 1:
            tail = PurePosixPath(without_suffix(line.replace("\\", "/").lstrip("/"))).parts
            candidates = [c for c in candidates if PurePosixPath(c).parts[-len(tail) :] == tail]
        if len(candidates) != 1:
            problem = "matches several images" if candidates else "is not in the data set"
            raise DataError(
                f"'{line}' of {source} {problem}{close_matches(canonical_id(line), by_name)}"
            )
        found.append(candidates[0])
    return found


def check_split(labeled: Ids, unlabeled: Ids, name: str, allow_overlap: bool = False) -> None:
    """Refuse a split without labelled images, with an image twice, or with one in both halves.

    Args:
        name: What the split is called, for the message.
        allow_overlap: Whether images may be in both halves on purpose.

    Raises:
        DataError: The split has one of these mistakes.
    """
    if not labeled:
        raise DataError(f"split {name} leaves no labelled image")
    for half, ids in (("labelled", labeled), ("unlabelled", unlabeled)):
        if len(set(ids)) < len(ids):
            repeated = next(item for item, count in Counter(ids).items() if count > 1)
            raise DataError(f"split {name} has '{repeated}' twice among the {half} images")
    both = [] if allow_overlap else sorted(set(labeled).intersection(unlabeled))
    if both:
        raise DataError(
            f"split {name} has {len(both)} images both labelled and unlabelled, the first is "
            f"'{both[0]}': remove them from one half (unlabeled=dict(pool='all') trains on labelled "
            "images without their masks, too)"
        )
