# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Many files at once: which exist, and what they are behind links."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Iterable

# Below this, asking for each file is quicker than listing a folder that may be huge.
_FEW = 64


def resolve_files(paths: Iterable[str]) -> dict[str, str | None]:
    """The real path of each file, None for one that does not exist.

    The result is that of ``os.path.realpath`` and ``os.path.exists``, with one system call a folder
    instead of several a file: 20,000 files on a network disk are then no matter of minutes.
    """
    by_folder: dict[str, list[str]] = {}
    for path in paths:
        by_folder.setdefault(osp.dirname(path), []).append(path)
    found: dict[str, str | None] = {}
    for folder, members in by_folder.items():
        if len(members) < _FEW:
            found.update((p, osp.realpath(p) if osp.exists(p) else None) for p in members)
            continue
        try:
            with os.scandir(folder or os.curdir) as entries:
                is_link = {entry.name: entry.is_symlink() for entry in entries}
        except OSError:
            is_link = {}
        real = osp.realpath(folder)
        for path in members:
            name = osp.basename(path)
            if name not in is_link:
                found[path] = None
            elif is_link[name]:
                found[path] = osp.realpath(path) if osp.exists(path) else None
            else:
                found[path] = osp.join(real, name)
    return found
