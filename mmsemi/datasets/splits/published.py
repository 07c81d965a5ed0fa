# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Published splits by name: computed from the data set's own ids, or read from imported lists."""

from __future__ import annotations

import os
from pathlib import Path

from mmseg.registry import TASK_UTILS

from ...errors import DataError
from ...utils import close_matches
from .generators import generate, rest_of
from .ids import Ids, LabeledUnlabeled, canonical_id, ids_sha256, read_id_list
from .masters import MasterLists, MissingListError, check_master
from .protocols import BASE_MASTER, Part, SplitProtocol, get_protocol


def _agrees(ids: Ids, part: Part | None, with_order: bool) -> bool:
    if part is None:
        return not ids
    return (
        len(ids) == part.count
        and (part.sha256 is None or ids_sha256(ids) == part.sha256)
        and (
            not with_order
            or part.order_sha256 is None
            or ids_sha256(ids, order=True) == part.order_sha256
        )
    )


def regenerate(protocol: SplitProtocol, masters: MasterLists) -> LabeledUnlabeled:
    """Compute a split and compare it with the published one, in order where the order is known.

    Returns:
        Canonical ids (labelled, unlabelled), in the published order.

    Raises:
        MissingListError: A master list is missing.
        RuntimeError: The result is another one, which would be a mistake of this package.
    """
    labeled, unlabeled = generate(protocol.generator, masters.get)
    in_order = protocol.unlabeled_order == "published"
    if not (
        _agrees(labeled, protocol.labeled, with_order=True)
        and _agrees(unlabeled, protocol.unlabeled, with_order=in_order)
    ):
        raise RuntimeError(f"split '{protocol.name}' did not reproduce its published hash")
    return labeled, unlabeled


def read_imported(protocol: SplitProtocol, folder: Path, masters: MasterLists) -> LabeledUnlabeled:
    """Read and check imported lists; without an unlabelled list it is the rest of its pool.

    Args:
        folder: Holds ``labeled.txt`` and possibly ``unlabeled.txt``.
        masters: Knows the data set's ids as ``'data set'``.

    Raises:
        DataError: A list is not the published one.
    """
    path = folder / "labeled.txt"
    labeled = [canonical_id(line) for line in read_id_list(path)]
    if not _agrees(labeled, protocol.labeled, with_order=False):
        raise DataError(
            f"list file '{path}' ({len(labeled)} images) is not split '{protocol.name}' "
            f"({protocol.labeled.count} images), its ids have another hash: import it again, "
            f"{protocol.import_command}"
        )
    path = folder / "unlabeled.txt"
    if protocol.unlabeled is None:
        return labeled, []
    if path.is_file():
        unlabeled = [canonical_id(line) for line in read_id_list(path)]
        source = f"list file '{path}'"
    else:
        pool = protocol.unlabeled_pool or "data set"
        unlabeled = rest_of(masters.get(pool), labeled)
        source = f"the rest of the {pool.replace('_', ' ')}"
    if not _agrees(unlabeled, protocol.unlabeled, with_order=False):
        raise DataError(
            f"{source} ({len(unlabeled)} images) is not the unlabelled part of split "
            f"'{protocol.name}' ({protocol.unlabeled.count} images): check the data set's ann_file "
            "and data_root"
        )
    return labeled, unlabeled


@TASK_UTILS.register_module()
class PublishedSplit:
    """A published split by name, checked by hash.

    A split that can be computed (see ``splits/README.md``) is computed from the data set's own ids.
    The others are their authors' files: ``python tools/splits.py import`` puts them below
    ``split_dir``, and a missing one is an error with the exact command.

    Args:
        name: A protocol, e.g. ``'cps_voc_1of8'``; of one with folds the name with or without
            ``_fN`` / ``_dN``.
        fold: Fold of a name without one; the default is fold 0.
        split_dir: Folder of imported splits and master lists, relative to the current folder.

    Raises:
        ConfigError: The name or fold is unknown.
        DataError: An imported list is missing, or the images are not the published ones.
    """

    def __init__(
        self, name: str, fold: int | None = None, split_dir: str | os.PathLike = "splits"
    ) -> None:
        self.protocol = get_protocol(name, fold)
        self.name = self.protocol.name
        self.allow_overlap = self.protocol.allow_overlap
        self.split_dir = Path(split_dir)
        # Set by the data set: a VOC devkit has its lists beside the images.
        self.image_folder: str | None = None

    def __call__(self, ids: Ids) -> LabeledUnlabeled:
        by_name = {canonical_id(item): item for item in ids}
        if len(by_name) < len(ids):
            raise DataError(
                f"split '{self.name}' goes by file names, and {len(ids) - len(by_name)} images of the "
                "data set have the name of another one: check its data_root"
            )
        names = sorted(by_name)
        masters = MasterLists(self.split_dir, {"data set": names}, self.image_folder)
        folder = self.split_dir / self.name
        if self.protocol.is_regenerable:
            self._check_data_set(names, masters)
            labeled, unlabeled = regenerate(self.protocol, masters)
        elif (folder / "labeled.txt").is_file():
            labeled, unlabeled = read_imported(self.protocol, folder, masters)
        else:
            labeled, unlabeled = self._from_imported_master(names, masters, folder)
        missing = [name for name in (*labeled, *unlabeled) if name not in by_name]
        if missing:
            raise DataError(
                f"{len(missing)} images of split '{self.name}' are not in the data set of "
                f"{len(names)} images, the first is '{missing[0]}'"
                f"{close_matches(missing[0], by_name)}: check its ann_file and data_root"
            )
        # Sorted: a run does not depend on the line order of the file that was imported.
        return sorted(by_name[name] for name in labeled), sorted(by_name[n] for n in unlabeled)

    def _check_data_set(self, names: list[str], masters: MasterLists) -> None:
        base = BASE_MASTER[self.protocol.dataset]
        try:
            masters.add(base, check_master(base, names, "the data set"))
        except DataError as error:
            raise DataError(
                f"split '{self.name}': {error}; check its ann_file and data_root, or use "
                "split=dict(type='RatioSplit', ratio=..., seed=...)"
            ) from None

    def _from_imported_master(
        self, names: list[str], masters: MasterLists, folder: Path
    ) -> LabeledUnlabeled:
        protocol = self.protocol
        text = f"split '{self.name}' is an import and '{folder / 'labeled.txt'}' does not exist"
        if protocol.imported_master is None:
            raise DataError(f"{text}: {protocol.import_command}")
        try:
            masters.get(protocol.imported_master)
        except MissingListError as error:
            raise DataError(
                f"{text}: {protocol.import_command}. Or, for all splits drawn from it: {error}"
            ) from None
        self._check_data_set(names, masters)
        return regenerate(protocol, masters)
