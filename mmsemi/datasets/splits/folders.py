# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Split folders: ``labeled.txt``, ``unlabeled.txt`` and ``split.json``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...utils.files import write_beside
from ...version import __version__
from .ids import Ids, canonical_id, ids_sha256, read_id_list
from .protocols import PROTOCOLS, find_by_hash


def format_line(name: str, dataset: str | None) -> str:
    """A canonical id as an mmseg ``ann_file`` has it; Cityscapes images lie in city folders."""
    return f"{name.split('_')[0]}/{name}" if dataset == "cityscapes" else name


def write_list(path: Path, lines: Ids) -> None:
    """One id a line, LF, with a final newline; complete or not there at all."""
    write_beside(path, lambda file: file.write(("\n".join(lines) + "\n").encode()))


def describe(ids: Ids) -> dict[str, Any]:
    """Count and hashes of a list."""
    return dict(count=len(ids), sha256=ids_sha256(ids), order_sha256=ids_sha256(ids, order=True))


def write_split(
    folder: str | os.PathLike,
    labeled: Ids,
    unlabeled: Ids | None,
    dataset: str | None = None,
    **info: Any,
) -> Path:
    """Write a split folder.

    Args:
        folder: Where; it is made.
        labeled, unlabeled: Ids; an unlabelled list of None or without ids is not written.
        dataset: Decides the form of the lines.
        info: What ``split.json`` holds beside counts and hashes.
    """
    folder = Path(folder)
    record = dict(info, dataset=dataset, tool=f"mmsemi {__version__}", labeled=describe(labeled))
    write_list(folder / "labeled.txt", [format_line(name, dataset) for name in labeled])
    if unlabeled:
        record["unlabeled"] = describe(unlabeled)
        write_list(folder / "unlabeled.txt", [format_line(name, dataset) for name in unlabeled])
    else:
        (folder / "unlabeled.txt").unlink(missing_ok=True)
    (folder / "split.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return folder


def verify_split(folder: str | os.PathLike) -> tuple[list[str], list[str]]:
    """Hash a folder's lists again.

    Returns:
        What was found, and what is wrong, one line each.

    Raises:
        DataError: There is no ``labeled.txt``, or ``split.json`` is none.
    """
    folder = Path(folder)
    found, wrong = [], []
    record_path = folder / "split.json"
    record: dict[str, Any] = {}
    if record_path.is_file():
        try:
            record = json.loads(record_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"'{record_path}' is no JSON: {error}") from None
    halves: dict[str, list[str]] = {}
    names: dict[str, set[str]] = {}
    for half in ("labeled", "unlabeled"):
        path = folder / f"{half}.txt"
        if half == "unlabeled" and not path.is_file():
            continue
        halves[half] = ids = [canonical_id(line) for line in read_id_list(path)]
        now = describe(ids)
        found.append(f"{half}: {now['count']} images, sha256 {now['sha256']}")
        if len(set(ids)) < len(ids):
            wrong.append(f"'{path}' names {len(ids) - len(set(ids))} images twice")
        names[half] = set(find_by_hash(now["sha256"], half))
        stored = record.get(half)
        if stored and stored.get("sha256") != now["sha256"]:
            wrong.append(f"'{path}' is not the list that '{record_path}' describes")
    protocol = PROTOCOLS.get(record.get("protocol", ""))
    if record.get("protocol") and record["protocol"] not in names["labeled"]:
        wrong.append(f"'{folder / 'labeled.txt'}' is not split '{record['protocol']}'")
    overlap = sorted(set(halves["labeled"]).intersection(halves.get("unlabeled", ())))
    if overlap and not (protocol and protocol.allow_overlap):
        wrong.append(f"{len(overlap)} images are in both lists, the first is '{overlap[0]}'")
    if "unlabeled" in names:
        whole = sorted(
            name
            for name in names["labeled"]
            # The hash of COCO's unlabelled lists is not known.
            if name in names["unlabeled"] or _has_count(name, len(halves["unlabeled"]))
        )
    else:
        whole = sorted(names["labeled"])
    found.append(f"published split: {', '.join(whole) or 'none'}")
    partly = sorted(names["labeled"] - set(whole))
    if partly:
        found.append(f"the same labelled, other unlabelled images: {', '.join(partly)}")
    return found, wrong


def _has_count(name: str, count: int) -> bool:
    part = PROTOCOLS[name].unlabeled
    return part is not None and part.sha256 is None and part.count == count
