# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Published list files become checked split folders; their known defects are repaired and named."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import DataError
from .generators import rest_of
from .ids import canonical_id, ids_sha256, read_id_list
from .masters import MasterLists, MissingListError, check_master
from .pickles import read_permutation
from .protocols import BASE_MASTER, MASTERS, Part, SplitProtocol, find_by_hash


@dataclass
class ImportedSplit:
    """What an import gives; ``unlabeled`` is None where it is only known with the data set."""

    labeled: list[str]
    unlabeled: list[str] | None
    notes: list[str] = field(default_factory=list)


def read_published(path: Path, protocol: SplitProtocol, masters: MasterLists) -> list[str]:
    """Canonical ids of a published file: a list, or a pickled permutation of the master list.

    Raises:
        DataError: It, or the master list that a permutation needs, is missing or no such file.
    """
    if path.suffix in (".pkl", ".pickle"):
        base = BASE_MASTER.get(protocol.dataset)
        order = read_permutation(path)
        if base is None or len(order) != MASTERS[base].count:
            raise DataError(
                f"the pickle '{path}' numbers {len(order)} images, but split '{protocol.name}' is "
                f"drawn from {MASTERS[base].count if base else 'a list of names'}"
            )
        ids = masters.get(base)
        return [ids[position] for position in order]
    ids = [canonical_id(line) for line in read_id_list(path)]
    if len(set(ids)) < len(ids):
        raise DataError(f"'{path}' names {len(ids) - len(set(ids))} images twice")
    return ids


def _describe_format(path: Path) -> list[str]:
    raw = path.read_bytes()
    notes = []
    if b"\r\n" in raw:
        notes.append(f"'{path.name}' has CRLF line ends (written with LF)")
    if not raw.endswith(b"\n"):
        notes.append(f"'{path.name}' has no newline at its end (written with one)")
    return notes


def _compare(ids: list[str], part: Part, half: str, path: Path, protocol: SplitProtocol) -> str:
    """How a file fits: in order or reordered; an error says which list it is instead."""
    found = ids_sha256(ids)
    if part.sha256 is not None and found != part.sha256:
        reason = (protocol.superseded or {}).get(found)
        others = {
            other: find_by_hash(found, other)
            for other in ("labeled", "unlabeled")
            if find_by_hash(found, other)
        }
        if reason is None and others:
            reason = " and ".join(
                f"the {'unlabelled' if other == 'unlabeled' else 'labelled'} list of {', '.join(names)}"
                for other, names in others.items()
            )
        text = f"it is {reason}" if reason else "it is no published list known here"
        raise DataError(
            f"'{path}' ({len(ids)} images) is not the {half} list of split '{protocol.name}' "
            f"({part.count} images): {text}"
        )
    if part.order_sha256 is None or ids_sha256(ids, order=True) == part.order_sha256:
        return f"{half}: {len(ids)} images, the published file"
    return f"{half}: {len(ids)} images, the published images, but reordered"


def import_split(
    protocol: SplitProtocol,
    file_labeled: str | os.PathLike,
    file_unlabeled: str | os.PathLike | None,
    masters: MasterLists,
) -> ImportedSplit:
    """Read, check and repair published files.

    Args:
        protocol: What they should be.
        file_labeled: The labelled list, or a pickled permutation whose first ids are labelled.
        file_unlabeled: The unlabelled list; without it, the rest of the pool.
        masters: Master lists that a permutation or the rest of a pool needs.

    Raises:
        DataError: A file does not exist or is another list; the message says which, if it is a
            published one.
    """
    path = Path(file_labeled)
    ids = read_published(path, protocol, masters)
    is_permutation = path.suffix in (".pkl", ".pickle")
    count = protocol.labeled.count
    labeled = ids[:count] if is_permutation else ids
    notes = [] if is_permutation else _describe_format(path)
    notes.append(_compare(labeled, protocol.labeled, "labelled", path, protocol))
    remarks = [f"note: {note}" for note in protocol.notes]
    if protocol.unlabeled is None:
        return ImportedSplit(labeled, None, [*notes, *remarks])

    if is_permutation:
        unlabeled = ids[count:]
        notes.append(_compare(unlabeled, protocol.unlabeled, "unlabelled", path, protocol))
    elif file_unlabeled is not None:
        path = Path(file_unlabeled)
        unlabeled = read_published(path, protocol, masters)
        part = protocol.published_unlabeled or protocol.unlabeled
        if ids_sha256(unlabeled) == protocol.unlabeled.sha256:
            part = protocol.unlabeled  # repaired by hand
        notes += _describe_format(path)
        notes.append(_compare(unlabeled, part, "unlabelled", path, protocol))
        shared = sorted(set(labeled).intersection(unlabeled))
        if shared and protocol.allow_overlap:
            notes.append(f"{len(shared)} images are in both lists, as the protocol has it")
        elif shared:
            unlabeled = rest_of(unlabeled, shared)
            notes.append(
                f"known defect: {', '.join(shared)} is in both published lists; dropped from the "
                f"unlabelled one, which has {len(unlabeled)} images now"
            )
            _compare(unlabeled, protocol.unlabeled, "unlabelled", path, protocol)
    else:
        pool = protocol.unlabeled_pool or BASE_MASTER.get(protocol.dataset)
        try:
            unlabeled = None if pool is None else rest_of(masters.get(pool), labeled)
        except MissingListError:
            unlabeled = None
        if unlabeled is None:
            notes.append("unlabelled: the rest, taken and checked when the data set is loaded")
        else:
            _compare(unlabeled, protocol.unlabeled, "unlabelled", Path(pool), protocol)
            notes.append(f"unlabelled: the {len(unlabeled)} other images of {pool}")
    return ImportedSplit(labeled, unlabeled, [*notes, *remarks])


def import_master(name: str, files: list[str]) -> list[str]:
    """Read and check a master list; two files are a pair of every second id and are interleaved.

    Raises:
        DataError: A file does not exist, or is another list.
    """
    if len(files) > 2:
        raise DataError(f"one file or a pair of two makes the list {name}, got {len(files)}")
    lists = [[canonical_id(line) for line in read_id_list(file)] for file in files]
    if len(lists) == 1:
        return check_master(name, lists[0], f"'{files[0]}'")
    first, second = lists
    if len(first) - len(second) not in (0, 1):
        raise DataError(
            f"'{files[0]}' ({len(first)} images) and '{files[1]}' ({len(second)} images) are no "
            "halves of one list: give the 1/2 pair, the labelled file first"
        )
    merged = [""] * (len(first) + len(second))
    merged[::2], merged[1::2] = first, second
    return check_master(name, merged, f"'{files[0]}' with '{files[1]}'")
