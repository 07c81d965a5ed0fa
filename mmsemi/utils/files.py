# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Files that are complete or not there at all, and inside the folder that the user named."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from ..errors import DataError


def file_sha256(path: str | os.PathLike) -> str:
    """The sha256 of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_below(folder: str | os.PathLike, name: str) -> Path:
    """The path of a file in a folder whose name comes from data: a list, a checkpoint, a picture.

    Args:
        folder: That the user named.
        name: Of the file, with ``/`` between folders.

    Raises:
        DataError: The path would lead out of the folder, on this system or another.
    """
    parts = name.replace("\\", "/").split("/")
    leads_out = (
        PurePosixPath(name).is_absolute()
        or PureWindowsPath(name).anchor  # a drive, a share, a leading separator
        or not parts[-1].strip(". ")
        or any(part.strip() == ".." for part in parts)
        or "\0" in name
    )
    if leads_out:
        raise DataError(f"the name {name!r} leads out of the folder '{folder}'")
    return Path(folder, *parts)


def write_beside(path: str | os.PathLike, save: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name, then rename it: an interruption leaves no half file.

    Args:
        path: The file; its folder is made if missing, an earlier file is replaced.
        save: Writes the content to an open binary file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            save(file)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
