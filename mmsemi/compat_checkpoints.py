# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Checkpoints are data on every path by which mmengine reads one.

They are read with ``weights_only=True``, through an allow-list of what mmengine writes beside the
weights; any other pickled object is refused before it can run, and so is a damaged file. A work dir's
own checkpoints are found again after it was moved or copied.
"""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from mmengine import runner as mmengine_runner
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as stock

from mmsemi.errors import CheckpointError
from mmsemi.utils import close_matches
from mmsemi.utils.plain_pickles import STAND_INS

HISTORY_STATISTICS = ("min", "max", "current", "mean")


class MissingCheckpointError(CheckpointError, FileNotFoundError):
    """A weight file that is not on this machine, which code around the loaders may expect."""


def apply() -> None:
    """Routes mmengine's checkpoint loaders through :func:`load_checkpoint_file`."""
    torch.serialization.add_safe_globals(allowed_names())
    patch_checkpoint_loading()
    for module in (
        stock,
        mmengine_runner,
        mmengine_runner.runner,
        mmengine_runner._flexible_runner,
    ):
        module.find_latest_checkpoint = find_last_checkpoint


def find_last_checkpoint(work_dir: str | os.PathLike) -> str | None:
    """The checkpoint that ``last_checkpoint`` names, in this folder if it is there; None without one.

    Raises:
        MissingCheckpointError: There is no such file.
    """
    pointer = Path(work_dir, "last_checkpoint")
    if not pointer.is_file():
        return None
    text = pointer.read_bytes().decode(errors="replace").strip()
    own = Path(work_dir, text.replace("\\", "/").rsplit("/", 1)[-1])
    # A hook with an out_dir of its own writes elsewhere.
    for path in (own, Path(work_dir, text)):
        with suppress(OSError):  # no name that a file could have
            if path.is_file():
                return str(path)
    if "://" in text:
        return text
    known = [path.name for path in Path(work_dir).glob("*.pth")]
    raise MissingCheckpointError(
        f"'{pointer}' names {text[:200]!r}, and there is no such checkpoint (the folder has: "
        f"{', '.join(sorted(known)) or 'none'}): write the name of another one into it"
    )


def allowed_names() -> list[tuple[Callable, str]]:
    """What mmengine's message hub and meta data pickle, for the allow-list of ``weights_only=True``.

    numpy's names are bound to stand-ins that take plain numbers. The statistics table of a
    ``HistoryBuffer`` is pickled as ``getattr(HistoryBuffer, 'max')``, so the name ``getattr`` is
    bound to :func:`get_history_statistic`, which knows four methods only.
    """
    return [
        (HistoryBuffer, f"{HistoryBuffer.__module__}.{HistoryBuffer.__qualname__}"),
        *((stand_in, name) for name, stand_in in STAND_INS.items()),
        *((get_history_statistic, f"{name}.getattr") for name in ("builtins", "__builtin__")),
    ]


@contextmanager
def _allow_list() -> Iterator[None]:
    """Ours, and what the user allowed beside it; numpy's own names stay with the stand-ins."""
    before = torch.serialization.get_safe_globals()
    names = allowed_names()
    own = {name for _, name in names}
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([*names, *(g for g in before if _name_of(g) not in own)])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _name_of(allowed: Any) -> str:
    if isinstance(allowed, tuple):
        return allowed[1]
    return f"{allowed.__module__}.{allowed.__qualname__}"


def get_history_statistic(owner: Any, name: str) -> Callable:
    """Replaces ``getattr`` inside a checkpoint: returns a ``HistoryBuffer`` statistic only."""
    if owner is not HistoryBuffer or not isinstance(name, str) or name not in HISTORY_STATISTICS:
        raise pickle.UnpicklingError(f"Unsupported global: GLOBAL getattr({owner!r}, {name!r})")
    return HistoryBuffer.__dict__[name]


def load_checkpoint_file(source: Any, map_location: Any = None) -> Any:
    """Reads a checkpoint (a path or a binary file object) with ``weights_only=True``.

    Raises:
        CheckpointError: It holds a pickled object that is not on the allow-list, or is damaged.
    """
    try:
        _check_sums(source)
        with _allow_list():
            return torch.load(source, map_location=map_location, weights_only=True)
    except Exception as error:  # a damaged pickle may raise almost anything
        if isinstance(error, OSError) and error.filename is not None:
            raise  # of the system, such as a file that may not be read
        # From None: torch's own text is a page long and proposes weights_only=False.
        raise CheckpointError(explain_load_error(str(source), error)) from None


def _check_sums(source: Any) -> None:
    """Compare a zip archive with the check sums in it, which torch does not; older formats have none.

    Raises:
        zipfile.BadZipFile: A record has changed since it was written.
    """
    start = source.tell() if hasattr(source, "seek") else 0
    damaged = None
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            # All 0: written with torch.serialization.set_crc32_options(False).
            if any(record.CRC for record in archive.infolist()):
                damaged = archive.testzip()
    if hasattr(source, "seek"):
        source.seek(start)
    if damaged is not None:
        raise zipfile.BadZipFile(f"the check sum of its record {damaged!r} is wrong")


def explain_load_error(name: str, error: Exception) -> str:
    """Returns one line for a failed load: the file, what is wrong with it and what to do."""
    if name.endswith(".py"):  # its text may look like a pickled object
        return f"{name}: this is a Python file, and no checkpoint: give a .pth file"
    text = str(error)
    first_line = next(iter(text.strip().splitlines()), type(error).__name__)
    if "out of memory" in text:
        return f"{name}: {first_line}"
    refused = re.search(r"GLOBAL (getattr\(.*\)|\S+)", text) or re.search(
        r"(?:unrecognized function|class|but got|instance of) (<[^>]+>|[\w.]+\.\w+)", text
    )
    if refused or "blocklisted" in text or "blocked" in text:
        culprit = repr(refused[1].rstrip(".,`")) if refused else "of a forbidden module"
        return (
            f"{name}: checkpoint refused, nothing in it was executed: it contains the pickled "
            f"object {culprit}, which is not on the allow-list. Save it again where it was made, "
            "with tensors, numbers and strings only (a class of your own can be allowed with "
            "torch.serialization.add_safe_globals)"
        )
    inner = re.search(r"WeightsUnpickler error: *(\S.*)", text)
    reason = inner[1] if inner else f"{type(error).__name__}: {first_line}"
    return (
        f"{name}: not a readable checkpoint, probably cut off or not written by torch.save "
        f"({reason[:200]})"
    )


def patch_checkpoint_loading() -> None:
    """Puts :func:`load_checkpoint_file` in the place of mmengine's readers of files and addresses."""

    def load_from_local(filename: str, map_location: Any = None) -> Any:
        path = os.path.expanduser(filename)
        if not os.path.isfile(path):
            folder = Path(path).parent
            known = [str(entry) for entry in folder.iterdir()] if folder.is_dir() else []
            hint = close_matches(path, known) if known else f" (nothing in {folder})"
            raise MissingCheckpointError(f"{filename}: no such checkpoint file{hint}")
        return load_checkpoint_file(path, map_location)

    # mmengine logs the loader's name from its 11th letter on, so ours has the same name.
    stock.CheckpointLoader._schemes[""] = load_from_local  # the prefix of local files
    stock.load_from_local = load_from_local
    # torch.hub's loader says weights_only=False by default: a https:// checkpoint could run code.
    stock.load_url = load_checkpoint_url
    if hasattr(stock, "_safe_torch_load"):  # OneDL's falls back to weights_only=False
        stock._safe_torch_load = lambda file, map_location=None, weights_only=None: (
            load_checkpoint_file(file, map_location)
        )


def load_checkpoint_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
) -> Any:
    """Downloads a checkpoint once and reads it with ``weights_only=True``; see ``torch.hub``.

    Raises:
        MissingCheckpointError: Neither in the cache nor to be downloaded; says where to put it.
        CheckpointError: See :func:`load_checkpoint_file`.
    """
    folder = Path(model_dir) if model_dir else Path(torch.hub.get_dir()) / "checkpoints"
    cached = folder / (file_name or os.path.basename(urlparse(url).path))
    if not cached.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        prefix = re.search(r"-([a-f0-9]*)\.", cached.name) if check_hash else None
        try:
            torch.hub.download_url_to_file(
                url, str(cached), prefix[1] if prefix else None, progress=progress
            )
        except (URLError, TimeoutError, ConnectionError) as error:
            raise MissingCheckpointError(
                f"{cached.name}: this weight file is not on this machine and cannot be downloaded "
                f"({getattr(error, 'reason', error)}). Put it at {cached} (source: {url}) or give "
                "a local path in the config"
            ) from None
    return load_checkpoint_file(str(cached), map_location)
