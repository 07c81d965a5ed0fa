# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Which images of a data set keep their masks: computed at load, independent of file order.

A split is a callable ``split(ids) -> (labeled_ids, unlabeled_ids)`` over the ids of a labelled mmseg
dataset. Ids are image paths relative to their common folder, without suffix; they arrive sorted.
Published protocols are compared by *canonical id* and SHA-256, see :func:`ids_sha256`.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mmseg.registry import TASK_UTILS

from ..utils import close_matches
from .published_splits import PUBLISHED_SPLITS

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


class _SeededSplit:
    """A random labelled subset: the first ``n`` ids after a seeded shuffle of the sorted ids.

    Subsets of one seed are nested: a smaller one is contained in every larger one.
    """

    seed: int

    def _count(self, total: int) -> int:
        raise NotImplementedError

    def __call__(self, ids: Ids) -> LabeledUnlabeled:
        shuffled = sorted(ids)
        # Python's own generator: its shuffle is the same on every platform and version since 3.2.
        random.Random(self.seed).shuffle(shuffled)
        count = self._count(len(shuffled))
        return sorted(shuffled[:count]), sorted(shuffled[count:])


@TASK_UTILS.register_module()
class RatioSplit(_SeededSplit):
    """A fraction of the images keeps its masks.

    Args:
        ratio: Labelled share, 0 < ratio <= 1; rounded down, at least one image.
        seed: Seed of the shuffle.
    """

    def __init__(self, ratio: float, seed: int = 0) -> None:
        if not 0 < ratio <= 1:
            raise ValueError(f"split.ratio must lie in (0, 1], got {ratio}")
        self.ratio, self.seed = ratio, seed

    def _count(self, total: int) -> int:
        # The tolerance keeps 0.1 * 30 = 3.0000000000000004 and 0.29 * 100 = 28.999... honest.
        return max(1, int(total * self.ratio + 1e-9))


@TASK_UTILS.register_module()
class CountSplit(_SeededSplit):
    """A number of images keeps its masks.

    Args:
        count: Labelled images, at least 1.
        seed: Seed of the shuffle.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        if count < 1:
            raise ValueError(f"split.count must be at least 1, got {count}")
        self.count, self.seed = count, seed

    def _count(self, total: int) -> int:
        if self.count > total:
            raise ValueError(f"split.count={self.count} but the data set has {total} images")
        return self.count


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


@TASK_UTILS.register_module()
class ListSplit:
    """Labelled (and optionally unlabelled) ids from list files.

    Args:
        labeled: List file of the labelled images, one id or path a line (a second column, as the
            published lists have, is ignored).
        unlabeled: List file of the unlabelled images; the default is every other image.
        allow_overlap: Accept images that are in both lists; otherwise they are an error.
        labeled_sha256: Hash of the sorted labelled ids (:func:`ids_sha256`) if the list is a
            published one, so that no other list is trained on under its name.
        origin: Where the list comes from; told when the file is missing.

    Raises:
        FileNotFoundError: A list file does not exist.
        ValueError: A line matches no image, the lists overlap, or the hash is another one.
    """

    def __init__(
        self,
        labeled: str,
        unlabeled: str | None = None,
        allow_overlap: bool = False,
        labeled_sha256: str | None = None,
        origin: str | None = None,
    ) -> None:
        self.labeled, self.unlabeled, self.allow_overlap = labeled, unlabeled, allow_overlap
        self.labeled_sha256, self.origin = labeled_sha256, origin

    def __call__(self, ids: Ids) -> LabeledUnlabeled:
        if self.origin is not None and not Path(self.labeled).is_file():
            raise FileNotFoundError(
                f"list file '{self.labeled}' does not exist: it is {self.origin}; put it there, or "
                "set split.labeled to where it is"
            )
        lines = read_id_list(self.labeled)
        if self.labeled_sha256 is not None and ids_sha256(lines) != self.labeled_sha256:
            raise ValueError(
                f"list file '{self.labeled}' ({len(lines)} images) is not the published one"
                f"{f' ({self.origin})' if self.origin else ''}: its ids have another hash; for a "
                "list of your own set split.labeled_sha256=None"
            )
        labeled = match_ids(lines, ids, f"'{self.labeled}'")
        chosen = set(labeled)
        if self.unlabeled is None:
            return labeled, [item for item in ids if item not in chosen]
        unlabeled = match_ids(read_id_list(self.unlabeled), ids, f"'{self.unlabeled}'")
        both = sorted(chosen.intersection(unlabeled))
        if both and not self.allow_overlap:
            raise ValueError(
                f"{len(both)} images are labelled in '{self.labeled}' and unlabelled in "
                f"'{self.unlabeled}', the first is '{both[0]}': remove them from one list, or set "
                "split.allow_overlap=True"
            )
        return labeled, unlabeled


@TASK_UTILS.register_module()
class PublishedSplit:
    """A published protocol by name, computed from the data set's own ids and checked by hash.

    Args:
        name: A key of :data:`mmsemi.datasets.published_splits.PUBLISHED_SPLITS`.

    Raises:
        ValueError: The name is unknown, or the data set's images are not the published master list.
    """

    def __init__(self, name: str) -> None:
        if name not in PUBLISHED_SPLITS:
            raise ValueError(
                f"unknown published split '{name}'{close_matches(name, PUBLISHED_SPLITS)} "
                f"(known: {', '.join(PUBLISHED_SPLITS)})"
            )
        self.name = name
        self.protocol = PUBLISHED_SPLITS[name]

    def __call__(self, ids: Ids) -> LabeledUnlabeled:
        protocol = self.protocol
        master = sorted(ids, key=canonical_id)
        if ids_sha256(master) != protocol.master_sha256:
            raise ValueError(
                f"split '{self.name}' is defined on the {protocol.master_count} images of "
                f"{protocol.master_name}; this data set has {len(master)} images or other names: "
                "check its ann_file and data_root, or use split=dict(type='RatioSplit', "
                "ratio=..., seed=...)"
            )
        labeled = master[:: protocol.every]
        chosen = set(labeled)
        unlabeled = [item for item in master if item not in chosen]
        for part, want in (
            (labeled, protocol.labeled_sha256),
            (unlabeled, protocol.unlabeled_sha256),
        ):
            if ids_sha256(part) != want:
                raise RuntimeError(f"split '{self.name}' did not reproduce its published hash")
        return labeled, unlabeled
