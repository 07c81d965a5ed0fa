# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Names of images that do not depend on folders and file formats, their hash, and list files."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ...utils import close_matches

Ids = Sequence[str]
LabeledUnlabeled = tuple[list[str], list[str]]


def canonical_id(line: str) -> str:
    """File-independent name of an image: the base name without suffix or Cityscapes ending.

    >>> canonical_id('leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png  gtFine/...')
    'aachen_000000_000019'
    """
    name = line.split()[0].replace("\\", "/").rsplit("/", 1)[-1]
    for suffix in (".jpg", ".jpeg", ".png", "_leftImg8bit"):
        name = name.removesuffix(suffix)
    return name


def ids_sha256(ids: Ids, order: bool = False) -> str:
    """SHA-256 of the canonical ids, one a line with a final newline; sorted unless ``order``."""
    names = [canonical_id(item) for item in ids]
    text = "\n".join(names if order else sorted(names)) + "\n"
    return hashlib.sha256(text.encode()).hexdigest()


def read_id_list(path: str | os.PathLike) -> list[str]:
    """Lines of a list file: blank lines dropped, one or two columns, LF or CRLF.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It holds no line, or the same image twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"list file '{path}' does not exist")
    lines = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"list file '{path}' is empty")
    seen: set[str] = set()
    for line in lines:
        if line in seen:
            raise ValueError(f"list file '{path}' names '{line}' twice")
        seen.add(line)
    return lines


def match_ids(lines: Ids, ids: Ids, source: str) -> list[str]:
    """Find each line of a list among a data set's ids, by canonical id and then by path ending.

    Raises:
        ValueError: A line matches no image, or several.
    """
    by_name: dict[str, list[str]] = {}
    for item in ids:
        by_name.setdefault(canonical_id(item), []).append(item)
    found = []
    for line in lines:
        candidates = by_name.get(canonical_id(line), [])
        if len(candidates) > 1:
            tail = PurePosixPath(line.lstrip("/")).with_suffix("").parts
            candidates = [c for c in candidates if PurePosixPath(c).parts[-len(tail) :] == tail]
        if len(candidates) != 1:
            problem = "matches several images" if candidates else "is not in the data set"
            raise ValueError(
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
        ValueError: The split has one of these mistakes.
    """
    if not labeled:
        raise ValueError(f"split {name} leaves no labelled image")
    for half, ids in (("labelled", labeled), ("unlabelled", unlabeled)):
        if len(set(ids)) < len(ids):
            repeated = next(item for item, count in Counter(ids).items() if count > 1)
            raise ValueError(f"split {name} has '{repeated}' twice among the {half} images")
    both = [] if allow_overlap else sorted(set(labeled).intersection(unlabeled))
    if both:
        raise ValueError(
            f"split {name} has {len(both)} images both labelled and unlabelled, the first is "
            f"'{both[0]}': remove them from one half (unlabeled=dict(pool='all') trains on labelled "
            "images without their masks, too)"
        )
