# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Images that a user names by files, folders and lists, and the names of their results.

A result is called as its image is, below the same folders, without the suffix. Where a folder holds several
images of one name (``a.jpg``, ``a.png``), their results keep the suffix (``a.jpg.png``). The rule looks at the
folder on disk and not at what else is predicted, so that the name of a result never changes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..datasets.files import IMAGE_SUFFIXES
from ..errors import ConfigError, DataError


class Input(NamedTuple):
    """An image.

    Attributes:
        path: Absolute.
        name: Of its results: folders and name, with ``/`` and without suffix.
    """

    path: str
    name: str


def find_inputs(given: Sequence[str], out: str | os.PathLike) -> tuple[str, list[Input]]:
    """The images that files, folders (with those in them) and lists name.

    Args:
        given: Paths. A file without the suffix of an image is a list: a path a line, from the working
            directory or from the list's own folder.
        out: Where the results go.

    Returns:
        The folder below which the images have their names, and the images, sorted.

    Raises:
        DataError: There is no such file or folder, or no image.
        ConfigError: The results lie in a folder of images, where the next call would take them for images.
    """
    roots, paths = [], []
    for item in map(os.path.expanduser, given):
        if os.path.isdir(item):
            _refuse_inside(item, out)
            roots.append(item)
            found = list(_images_below(item))
        elif not os.path.isfile(item):
            raise DataError(f"there is no file or folder '{item}' (searched from '{os.getcwd()}')")
        else:
            is_image = item.lower().endswith(IMAGE_SUFFIXES)
            found = [item] if is_image else _read_list(item)
            roots += map(os.path.dirname, found)
        if not found:
            raise DataError(f"'{item}' holds no image ({', '.join(IMAGE_SUFFIXES)})")
        paths += found
    try:
        base = os.path.commonpath({os.path.abspath(root) for root in roots})
    except ValueError:  # on Windows
        raise ConfigError("the images lie on several drives: predict those of each alone") from None
    named: dict[str, Input] = {}
    siblings: dict[str, list[str]] = {}
    for path in sorted({os.path.abspath(path) for path in paths}):
        name = os.path.relpath(path, base).replace(os.sep, "/")
        if not _shares_its_name(path, siblings):
            name = os.path.splitext(name)[0]
        if name in named:
            raise DataError(
                f"'{named[name].path}' and '{path}' would have results of one name, '{name}': rename one"
            )
        named[name] = Input(path, name)
    return base, list(named.values())


def _refuse_inside(folder: str, out: str | os.PathLike) -> None:
    inner, outer = Path(out).expanduser().resolve(), Path(folder).resolve()
    if inner == outer or outer in inner.parents:
        raise ConfigError(
            f"the results would lie in '{out}', inside the folder of images '{folder}', where the next call "
            "would take them for images: give a folder beside it"
        )


def _images_below(folder: str) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        for name in names:
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                yield os.path.join(place, name)


def _read_list(path: str) -> list[str]:
    """Paths in a list file, as they are from the working directory or else from its own folder."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(
            f"'{path}' is neither an image ({', '.join(IMAGE_SUFFIXES)}) nor a list of images, a path a line"
        ) from None
    found = []
    for line in filter(None, map(str.strip, lines)):
        beside = os.path.join(os.path.dirname(path), line)
        found.append(beside if os.path.exists(beside) and not os.path.exists(line) else line)
    return found


def _shares_its_name(path: str, siblings: dict[str, list[str]]) -> bool:
    """Whether another image in the folder differs by its suffix alone."""
    folder, own = os.path.split(path)
    if folder not in siblings:
        entries = os.listdir(folder) if os.path.isdir(folder) else []
        images = [name for name in entries if name.lower().endswith(IMAGE_SUFFIXES)]
        siblings[folder] = [os.path.splitext(name)[0] for name in images]
    return siblings[folder].count(os.path.splitext(own)[0]) > 1
