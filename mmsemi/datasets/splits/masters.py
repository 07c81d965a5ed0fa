# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Master lists: from a data set's files, from each other, or from imported files, checked by hash."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from ...errors import ConfigError, DataError
from .generators import rest_of
from .ids import Ids, canonical_id, ids_sha256, read_id_list
from .protocols import MASTERS, MasterList, PublishedFile

# Where the SBD release may lie, seen from VOCdevkit/VOC2012; the first is mmseg's layout.
SBD_FOLDERS = ("../VOCaug/dataset", "../../benchmark_RELEASE/dataset", "../SBD/dataset")
TRAIN_AUG_FILES = ("trainaug.txt", "train_aug.txt")


def _differences(master: MasterList, ids: Ids) -> str:
    """What is known about a wrong list: groups (cities, years) that are too small or too large."""
    parts = []
    if len(set(ids)) != len(ids):
        parts.append(f"{len(ids) - len(set(ids))} repeated")
    found = Counter(item.split("_")[0] for item in ids)
    groups = master.groups or {}
    # Groups that do not belong there at all come first.
    for group in sorted({*found, *groups} if groups else (), key=lambda g: (g in groups, g)):
        expected = groups.get(group, 0)
        if found[group] != expected:
            example = next((item for item in sorted(ids) if item.split("_")[0] == group), "")
            extra = f", e.g. '{example}'" if not expected else ""
            parts.append(f"{group}: {found[group]} instead of {expected}{extra}")
    if master.name == "ade":  # numbered without gaps
        legal = {f"ADE_train_{number:08d}" for number in range(1, master.count + 1)}
        missing, extra = sorted(legal.difference(ids)), sorted(set(ids) - legal)
        parts += [f"'{item}' is missing" for item in missing[:1]]
        parts += [f"'{item}' is too many" for item in extra[:1]]
    if len(parts) > 6:
        parts = [*parts[:6], "..."]
    return f" ({'; '.join(parts)})" if parts else ""


def check_master(name: str, ids: Ids, source: str) -> list[str]:
    """The canonical ids of a master list in its order.

    Args:
        name: A key of :data:`~.protocols.MASTERS`.
        ids: Ids or paths, in any order if the list is defined as sorted.
        source: Where they come from, for the message.

    Raises:
        DataError: They are other ids, or in another order where the order matters.
    """
    master = MASTERS[name]
    names = [canonical_id(item) for item in ids]
    if ids_sha256(names) != master.sha256:
        raise DataError(
            f"{source} does not hold the {master.count} images of {master.what}: it has "
            f"{len(names)}{_differences(master, names)}"
        )
    if master.is_sorted:
        return sorted(names)
    if ids_sha256(names, order=True) != master.order_sha256:
        raise DataError(
            f"{source} holds the images of {master.what}, but in another order, and the order "
            "decides which images are labelled: take the authors' file as it is"
        )
    return names


class MissingListError(DataError):
    """A master list that has to be made or imported first."""


class MasterLists:
    """Finds master lists by name.

    Args:
        split_dir: Folder of imported splits; master lists lie in its ``masters`` folder.
        known: Lists that are at hand, e.g. ``{'voc_aug': the ids of the training set}``.
        image_folder: Folder of the images, beside which a VOC devkit has its ``ImageSets``.
    """

    def __init__(
        self,
        split_dir: str | os.PathLike = "splits",
        known: dict[str, list[str]] | None = None,
        image_folder: str | os.PathLike | None = None,
    ) -> None:
        self.folder = Path(split_dir) / "masters"
        self.image_folder = None if image_folder is None else Path(image_folder)
        self._lists = dict(known or {})

    def get(self, name: str) -> list[str]:
        """The ids of a master list, in its order.

        Raises:
            MissingListError: It is nowhere; the message has the command that makes it.
            DataError: The file found is not this list.
        """
        if name not in self._lists:
            self._lists[name] = self._find(name)
        return self._lists[name]

    def add(self, name: str, ids: list[str]) -> None:
        """Make a list known that is at hand."""
        self._lists[name] = ids

    def _find(self, name: str) -> list[str]:
        if name == "sbd_only":
            return rest_of(self.get("voc_aug"), self.get("voc_train"))
        if name == "voc_aug_cac":
            return self.get("voc_train") + self.get("sbd_only")
        for path in self._candidates(name):
            if path.is_file():
                return check_master(name, read_id_list(path), f"'{path}'")
        raise MissingListError(self.describe_missing(name))

    def _candidates(self, name: str) -> list[Path]:
        paths = [self.folder / f"{name}.txt"]
        if self.image_folder is not None and name in ("voc_train", "voc_val"):
            sets = self.image_folder.parent / "ImageSets" / "Segmentation"
            paths.append(sets / f"{name.removeprefix('voc_')}.txt")
        return paths

    def describe_missing(self, name: str) -> str:
        """One line: which list is missing, and the command that makes it."""
        master = MASTERS[name]
        nor = "".join(f" nor '{path}'" for path in self._candidates(name)[1:])
        first = self._candidates(name)[0]
        text = f"the list {name} ({master.what}) is missing ('{first}'{nor}): "
        if master.origin != "import":
            return text + (
                f"python tools/splits.py masters --dataset {master.dataset} --data-root FOLDER "
                "makes it from the data set"
            )
        file: PublishedFile = master.file
        return text + (
            f"python tools/splits.py import --master {name} {Path(file.labeled).name}, where "
            f"{Path(file.labeled).name} is {file.labeled} of {file.where}"
        )


def _list_of(folder: Path, names: tuple[str, ...], what: str) -> list[str]:
    for name in names:
        if (folder / name).is_file():
            return [canonical_id(line) for line in read_id_list(folder / name)]
    raise DataError(f"{what}: '{folder / names[0]}' does not exist")


def _voc_masters(root: Path, sbd_root: Path | None) -> dict[str, list[str]]:
    sets = root / "ImageSets" / "Segmentation"
    train = _list_of(sets, ("train.txt",), "no VOC devkit (data root: the folder VOC2012)")
    val = _list_of(sets, ("val.txt",), "no VOC devkit (data root: the folder VOC2012)")
    folders = [sbd_root] if sbd_root else [root / name for name in SBD_FOLDERS]
    sbd = next((folder for folder in folders if (folder / "train.txt").is_file()), None)
    if sbd is not None:
        source = f"'{sbd}' with '{sets}'"
        both = _list_of(sbd, ("train.txt",), "SBD") + _list_of(sbd, ("val.txt",), "SBD")
        augmented = sorted({*train, *both} - set(val))
    elif sbd_root is None and any((sets / name).is_file() for name in TRAIN_AUG_FILES):
        source = f"'{sets / next(n for n in TRAIN_AUG_FILES if (sets / n).is_file())}'"
        augmented = _list_of(sets, TRAIN_AUG_FILES, "train_aug")
        wrong = sorted(set(augmented) & set(val))
        if wrong:
            raise DataError(f"{source} holds {len(wrong)} images of VOC val, e.g. '{wrong[0]}'")
    else:
        raise DataError(
            f"neither the SBD lists '{folders[0]}/{{train,val}}.txt' nor '{sets}/trainaug.txt' "
            "exist: give --sbd-root FOLDER (the folder 'dataset' of the SBD release)"
        )
    lists = {
        "voc_train": check_master("voc_train", train, f"'{sets / 'train.txt'}'"),
        "voc_val": check_master("voc_val", val, f"'{sets / 'val.txt'}'"),
        "voc_aug": check_master("voc_aug", augmented, source),
    }
    derived = MasterLists(os.devnull, known=lists)
    for name in ("sbd_only", "voc_aug_cac"):
        lists[name] = check_master(name, derived.get(name), source)
    return lists


def _images(folder: Path, suffix: str, name: str) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"the image folder '{folder}' does not exist: check --data-root")
    found = (file for _, _, files in os.walk(folder, followlinks=True) for file in files)
    return check_master(name, sorted(f for f in found if f.endswith(suffix)), f"'{folder}'")


def build_masters(
    dataset: str, data_root: str | os.PathLike, sbd_root: str | os.PathLike | None = None
) -> dict[str, list[str]]:
    """Master lists of a data set from its own files, each checked by hash.

    Args:
        dataset: ``'voc'``, ``'cityscapes'`` or ``'ade'``.
        data_root: ``VOCdevkit/VOC2012``, the folder with ``leftImg8bit``, or the one with
            ``images/training``.
        sbd_root: Folder with the SBD lists ``train.txt`` and ``val.txt``; by default it is looked
            for beside the devkit, and without it ``trainaug.txt`` is read.

    Raises:
        DataError: A list or folder does not exist, or the images are not those of the data set.
    """
    root = Path(data_root)
    if not root.is_dir():
        raise DataError(f"the data root '{root}' does not exist")
    if dataset == "voc":
        return _voc_masters(root, None if sbd_root is None else Path(sbd_root))
    if dataset == "cityscapes":
        images = root / "leftImg8bit"
        lists = {"city": _images(images / "train", "_leftImg8bit.png", "city")}
        if (images / "val").is_dir():
            lists["city_val"] = _images(images / "val", "_leftImg8bit.png", "city_val")
        return lists
    if dataset == "ade":
        return {"ade": _images(root / "images" / "training", ".jpg", "ade")}
    raise ConfigError(f"no master lists for '{dataset}' (known: voc, cityscapes, ade)")
