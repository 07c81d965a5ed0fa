# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Names of images that do not depend on folders and file formats, their hash, and list files."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ...errors import DataError
from ...utils import close_matches
from ..files import IMAGE_SUFFIXES

Ids = Sequence[str]
_FIRST_COLUMN = re.compile(
    rf"(.+?(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))}))\s*[\s,;]\s*\S", re.IGNORECASE
)
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


def name_in_line(line: str) -> str:
    """The image that a line of a list names: its first column.

    A column ends at a tab, or at a blank or comma behind the suffix of a picture; any other blank
    belongs to the name. Without suffixes a line has two columns where both name the same image.

    Examples:
        >>> [name_in_line(line) for line in ('case (1)', 'a/case (1).png b/case (1).png', '1 1')]
        ['case (1)', 'a/case (1).png', '1']
    """
    line = line.split("\t")[0].strip()
    column = _FIRST_COLUMN.match(line)
    if column:
        return column[1]
    words = line.split(" ")
    first, second = (
        " ".join(half) for half in (words[: len(words) // 2], words[len(words) // 2 :])
    )
    return first if canonical_id(first) == canonical_id(second) else line


def parse_id_list(text: str) -> list[tuple[int, str]]:
    """Line number and name of every image that the text of a list file names.

    Lines end in LF or CRLF; a byte order mark, empty lines and blanks around a name are no part of it.
    """
    lines = enumerate(text.removeprefix("\ufeff").splitlines(), 1)
    return [(number, name_in_line(line.strip())) for number, line in lines if line.strip()]


def read_id_list(path: str | os.PathLike) -> list[str]:
    """The images that a list file names; see :func:`name_in_line` and :func:`parse_id_list`.

    Raises:
        DataError: It does not exist, is no text, holds no line, or the same image twice.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"list file '{path}' does not exist")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"list file '{path}' is no UTF-8 text with one image a line") from None
    names: dict[str, None] = {}
    for number, name in parse_id_list(text):
        if name in names:
            raise DataError(f"list file '{path}' names '{name}' twice (again in line {number})")
        names[name] = None
    if not names:
        raise DataError(f"list file '{path}' is empty")
    return list(names)


def same_path(first: str, second: str) -> bool:
    """Whether two names may mean one image: one path, without suffix, ends in the other."""
    one, two = (
        PurePosixPath(without_suffix(p.replace("\\", "/").lstrip("/"))).parent.parts
        for p in (first, second)
    )
    shared = min(len(one), len(two))
    is_end = shared == 0 or one[-shared:] == two[-shared:]
    return is_end and canonical_id(first) == canonical_id(second)


def match_ids(lines: Ids, ids: Ids, source: str) -> list[str]:
    """Find each line of a list among a data set's ids, or among the paths of files.

    They are compared by canonical id; where that is not unique, by folders and suffix. A line may have
    more folders than the id, as an absolute path has, or fewer.

    Raises:
        DataError: A line matches no image, or several, or two lines match the same one.
    """
    by_name: dict[str, list[str]] = {}
    for item in ids:
        by_name.setdefault(canonical_id(item), []).append(item)
    line_of: dict[str, str] = {}
    for line in lines:
        found = by_name.get(canonical_id(line), [])
        if len(found) > 1:
            found = [item for item in found if same_path(line, item)]
        for test in (without_suffix, str):  # an equal path goes before one that only ends so
            if len(found) > 1:
                found = [item for item in found if test(item) == test(line)] or found
        if len(found) != 1:
            problem = "matches several images" if found else "is not in the data set"
            raise DataError(
                f"'{line}' of {source} {problem}{close_matches(canonical_id(line), by_name)}"
            )
        if found[0] in line_of:
            raise DataError(
                f"'{line_of[found[0]]}' and '{line}' of {source} are both the image '{found[0]}'"
            )
        line_of[found[0]] = line
    return list(line_of)


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
