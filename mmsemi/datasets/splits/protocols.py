# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The table of published splits: counts, hashes and origins, read from ``protocols.json``.

The table holds no ids: the lists are their authors' work. ``sha256`` is always that of the sorted
canonical ids, which is what identifies a split; ``order_sha256`` is that of the published order, which
only proves that a file is the published one. See :func:`~mmsemi.datasets.splits.ids_sha256`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...utils import close_matches

_TABLE: dict[str, Any] = json.loads(
    (Path(__file__).parent / "protocols.json").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class PublishedFile:
    """Where a list is published."""

    source: str
    labeled: str
    unlabeled: str | None = None

    @property
    def where(self) -> str:
        """The repository with its commit."""
        source = _TABLE["sources"][self.source]
        return f"github.com/{source['repository']} (commit {source['commit']})"


@dataclass(frozen=True)
class Part:
    """The labelled or unlabelled half of a split; an unknown hash is None."""

    count: int
    sha256: str | None
    order_sha256: str | None


@dataclass(frozen=True)
class MasterList:
    """A list from which splits are drawn.

    Args:
        origin: ``'data root'`` (made from the data set's files), ``'derived'`` (from other master
            lists) or ``'import'`` (a published file whose order nothing reproduces).
        groups: Number of ids by what stands before the first ``_``, for messages.
    """

    name: str
    dataset: str
    what: str
    count: int
    sha256: str
    order_sha256: str
    origin: str
    groups: dict[str, int] | None = None
    file: PublishedFile | None = None

    @property
    def is_sorted(self) -> bool:
        """Whether the list is in plain sorted order, so that any order of its ids will do."""
        return self.sha256 == self.order_sha256


@dataclass(frozen=True)
class SplitProtocol:
    """A published split.

    Args:
        generator: Rule and parameters of :mod:`.generators`; None if only the authors' file has it.
        labeled, unlabeled: Its two halves as they are trained on; ``unlabeled`` is None if there is
            none.
        published_unlabeled: The unlabelled file as published, where it has to be repaired.
        unlabeled_pool: Master list of which the unlabelled half is the rest; None: the data set.
        fine_masks: How many labelled VOC images have fine masks (are in VOC 2012 train).
        files: Where it is published; the first one is what messages recommend.
        superseded: Hash (sorted) -> what it is, of labelled lists that the authors replaced.
        notes: What a user should know, one sentence each.
    """

    name: str
    dataset: str
    labeled: Part
    unlabeled: Part | None
    files: tuple[PublishedFile, ...]
    generator: dict[str, Any] | None = None
    published_unlabeled: Part | None = None
    unlabeled_pool: str | None = None
    unlabeled_order: str = "published"
    fine_masks: int | None = None
    allow_overlap: bool = False
    superseded: dict[str, str] | None = None
    notes: tuple[str, ...] = ()

    @property
    def masters(self) -> tuple[str, ...]:
        """Names of the master lists that the generator reads."""
        generator = self.generator or {}
        return tuple(generator[key] for key in ("master", "given", "rest") if key in generator)

    @property
    def imported_master(self) -> str | None:
        """The master list that has to be imported before the split can be computed."""
        return next((name for name in self.masters if MASTERS[name].origin == "import"), None)

    @property
    def is_regenerable(self) -> bool:
        """Whether the split is computed from the data set alone."""
        return self.generator is not None and self.imported_master is None

    @property
    def import_command(self) -> str:
        """The command that makes the split's lists out of the authors' file, and where that is."""
        file = self.files[0]
        return (
            f"python tools/splits.py import --protocol {self.name} --file-labeled "
            f"{Path(file.labeled).name}, where {Path(file.labeled).name} is {file.labeled} of "
            f"{file.where}"
        )


def _part(entry: dict | None) -> Part | None:
    return None if entry is None else Part(**entry)


def _read_protocols() -> Iterator[SplitProtocol]:
    for name, entry in _TABLE["protocols"].items():
        halves = {
            key: _part(entry.get(key)) for key in ("labeled", "unlabeled", "published_unlabeled")
        }
        files = tuple(PublishedFile(**file) for file in entry["files"])
        notes = tuple(entry.get("notes", ()))
        yield SplitProtocol(**{**entry, **halves, "name": name, "files": files, "notes": notes})


def _read_masters() -> Iterator[MasterList]:
    for name, entry in _TABLE["masters"].items():
        file = PublishedFile(**entry["file"]) if "file" in entry else None
        yield MasterList(**{**entry, "name": name, "file": file})


MASTERS: dict[str, MasterList] = {master.name: master for master in _read_masters()}
PROTOCOLS: dict[str, SplitProtocol] = {protocol.name: protocol for protocol in _read_protocols()}
# Hash of the comma-joined numbers -> why such a permutation names no images.
REFUSED_PERMUTATIONS: dict[str, str] = _TABLE["refused_permutations"]
# The list of all training images of a data set; COCO's hash is not known.
BASE_MASTER = {"voc": "voc_aug", "cityscapes": "city", "ade": "ade"}
_FOLD_SUFFIX = re.compile(r"_([fd])(\d)$")


def get_protocol(name: str, fold: int | None = None) -> SplitProtocol:
    """Find a protocol by its name, or by the name without ``_fN`` / ``_dN`` and a fold.

    Args:
        name: ``'cps_voc_1of8'``, ``'dstcbc_voc_1of8_f1'`` or ``'dstcbc_voc_1of8'``.
        fold: Fold of a name without one; None is fold 0.

    Raises:
        ConfigError: There is no such protocol, or no such fold.
    """
    if fold is not None and (isinstance(fold, bool) or not isinstance(fold, int)):
        raise ConfigError(f"split.fold must be a whole number, got {fold!r}")
    found = PROTOCOLS.get(name)
    if found is not None:
        suffix = _FOLD_SUFFIX.search(name)
        if fold is None or (suffix and int(suffix[2]) == fold):
            return found
        if suffix:
            raise ConfigError(
                f"split '{name}' names fold {suffix[2]} and split.fold={fold} another one: set "
                f"split.name='{name[: suffix.start()]}'"
            )
        raise ConfigError(f"split '{name}' has no folds: remove split.fold={fold}")
    folds = {
        int(match[2]): key
        for key in PROTOCOLS
        if (match := _FOLD_SUFFIX.search(key)) and key[: match.start()] == name
    }
    if not folds:
        known = {_FOLD_SUFFIX.sub("", key) for key in PROTOCOLS}
        raise ConfigError(
            f"unknown published split '{name}'{close_matches(name, {*known, *PROTOCOLS})} "
            "(python tools/splits.py list shows all)"
        )
    if (fold or 0) not in folds:
        raise ConfigError(
            f"split '{name}' has no fold {fold or 0} (its folds: "
            f"{', '.join(map(str, sorted(folds)))})"
        )
    return PROTOCOLS[folds[fold or 0]]


def find_by_hash(sha256: str, half: str = "labeled") -> list[str]:
    """Names of the protocols whose labelled (or unlabelled) half has this sorted hash."""
    return [
        name
        for name, protocol in PROTOCOLS.items()
        for part in (getattr(protocol, half), getattr(protocol, f"published_{half}", None))
        if part is not None and part.sha256 == sha256
    ]
