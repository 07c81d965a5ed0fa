# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Files that are complete or not there at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


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
