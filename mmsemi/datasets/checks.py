# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Guards that run once before training."""

from __future__ import annotations

import functools
import hashlib
import logging
import os.path as osp
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from mmengine.dataset import Compose
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmseg.datasets.transforms import LoadAnnotations
from torch.utils.data import Dataset

from .files import resolve_files
from .semi_dataset import SemiDataset
from .sources import insert_mask_checks
from .transforms import LoadCheckedAnnotations

# Masks that the search for missing classes reads at most; it stops at once when none is missing.
MAX_MASKS = 2000


def unwrap(dataset: Dataset) -> Dataset:
    """The dataset inside stock wrappers such as ``RepeatDataset``."""
    while isinstance(getattr(dataset, "dataset", None), Dataset):
        dataset = dataset.dataset
    return dataset


def _img_paths(dataset: Dataset) -> list[str]:
    if not hasattr(dataset, "get_data_info"):
        return []
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    return [info["img_path"] for info in infos if "img_path" in info]


class _Twins:
    """Finds files of the same name and content.

    Frames of many folders may share their names, so no file is read or asked for its size twice.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_name: dict[str, list[str]] = {}
        for path in paths:
            self._by_name.setdefault(osp.basename(path), []).append(path)
        self._size = functools.cache(lambda path: osp.getsize(path) if osp.isfile(path) else None)
        self._hash = functools.cache(
            lambda path: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        )

    def find(self, path: str) -> str | None:
        """A file with the name and bytes of this one, or None."""
        for other in self._by_name.get(osp.basename(path), ()):
            same_size = self._size(path) is not None and self._size(path) == self._size(other)
            if same_size and self._hash(path) == self._hash(other):
                return other
        return None


def check_leakage(train_dataset: Dataset, val_dataset: Dataset) -> None:
    """Refuse to train on images of the validation set.

    Images are compared by resolved path (links are followed); images of the same file name in
    different folders also by content, so that a copied validation image is found and equal
    numbering in different folders is not mistaken for one. The validation masks get the same checks
    as the training masks.

    Raises:
        ValueError: A training image is a validation image; the message names source and files.
    """
    train_dataset, val_dataset = unwrap(train_dataset), unwrap(val_dataset)
    insert_mask_checks(val_dataset)
    if not isinstance(train_dataset, SemiDataset):
        return
    val_paths = _img_paths(val_dataset)
    resolved = {real: path for path, real in resolve_files(val_paths).items() if real}
    twins = _Twins(val_paths)
    for source in train_dataset.source_ranges:
        leaked = []
        for path, real in resolve_files(train_dataset.img_paths(source)).items():
            twin = resolved.get(real) or twins.find(path)
            if twin is not None:
                leaked.append((path, twin))
        if leaked:
            path, twin = leaked[0]
            raise ValueError(
                f"{len(leaked)} {source} training images are validation images, the first is "
                f"'{path}' (validation: '{twin}'): take them out of the training list or folder"
            )


def check_training_set(dataset: Dataset) -> None:
    """Refuse missing files, and warn of classes without a labelled pixel and of repeated images.

    Files are looked up without opening one; for the classes, labelled masks are read until each class
    was seen, in the main process only.

    Raises:
        FileNotFoundError: More files do not exist than ``max_unreadable`` allows.
    """
    dataset = unwrap(dataset)
    if not isinstance(dataset, SemiDataset):
        return
    _check_files(dataset)
    _report_hidden_masks(dataset)
    if is_main_process():
        _report_missing_classes(dataset)


def _on_disk(paths: Iterable[str]) -> list[str]:
    """Paths of the local file system; others ('s3://...') cannot be looked up cheaply."""
    return [path for path in paths if "://" not in path]


def _is_local(dataset: Dataset) -> bool:
    settings = getattr(dataset, "backend_args", None) or {}
    return settings.get("backend", "local") in ("local", "disk")


def _check_files(dataset: SemiDataset) -> None:
    missing: dict[str, str] = {}  # path -> what it is to the first source that needs it
    real_images: dict[str, list[str]] = {}
    for source, span in dataset.source_ranges.items():
        if not span or not _is_local(dataset.locate(span[0])[1]):
            continue
        infos = [dataset.get_data_info(index) for index in span]
        images = _on_disk(info["img_path"] for info in infos)
        masks = _on_disk(info["seg_map_path"] for info in infos if info.get("seg_map_path"))
        if source == "unlabeled":
            masks = []  # never opened
        for kind, paths in (("image", images), ("mask", masks)):
            found = resolve_files(paths)
            for path in (path for path, real in found.items() if real is None):
                missing.setdefault(path, f"{source} {kind}")
            if kind == "image":
                real_images[source] = [real for real in found.values() if real is not None]
    if missing:
        path, what = next(iter(missing.items()))
        text = f"{len(missing)} training files do not exist, the first is the {what} '{path}'"
        if len(missing) > dataset.max_unreadable:
            raise FileNotFoundError(
                f"{text}: check data_root, data_prefix, img_suffix and seg_map_suffix, or take them "
                "out of the list (train_dataloader.dataset.max_unreadable="
                f"{dataset.max_unreadable} skips so many)"
            )
        print_log(f"{text}; they are skipped (max_unreadable)", "current", logging.WARNING)
    for source, paths in real_images.items():
        if len(set(paths)) < len(paths):
            print_log(
                f"{len(paths) - len(set(paths))} {source} images are the same file as another one "
                "(links): they are drawn more often",
                "current",
                logging.WARNING,
            )
    both = set(real_images.get("labeled", ())).intersection(real_images.get("unlabeled", ()))
    if both:
        print_log(
            f"{len(both)} of {len(real_images['labeled'])} labelled images are trained on without "
            "their masks, too",
            "current",
        )


def _report_hidden_masks(dataset: SemiDataset) -> None:
    """Say so if a further source reads masks that the split hides from the labelled one."""
    further = [name for name in dataset.source_ranges if name not in ("labeled", "unlabeled")]
    if not further:
        return
    hidden = set(resolve_files(_on_disk(dataset.hidden_masks())).values()) - {None}
    for source in further:
        span = dataset.source_ranges[source]
        infos = (dataset.get_data_info(index) for index in span)
        masks = _on_disk(info["seg_map_path"] for info in infos if info.get("seg_map_path"))
        read = [path for path, real in resolve_files(masks).items() if real in hidden]
        if read:
            print_log(
                f"the source '{source}' reads {len(read)} masks of images that the split leaves "
                f"unlabelled, the first is '{read[0]}': set train_dataloader.dataset.sources."
                f"{source}=dict(pool='labeled', pipeline=...) unless all of its labels may be used",
                "current",
                logging.WARNING,
            )


def _load_mask(dataset: Dataset, info: dict) -> np.ndarray | None:
    """A mask as the pipeline reads it; None for one that it cannot read, which is its affair."""
    pipeline = getattr(dataset, "pipeline", None)
    loaders = [
        transform
        for transform in (pipeline.transforms if isinstance(pipeline, Compose) else ())
        if isinstance(transform, LoadAnnotations)
    ]
    if not loaders:
        return None
    loader = loaders[0]
    if type(loader) is LoadCheckedAnnotations:  # which would need the image for its checks
        loader = LoadAnnotations(
            imdecode_backend=loader.imdecode_backend, backend_args=loader.backend_args
        )
    try:
        return np.asarray(loader(info)["gt_seg_map"])
    except Exception:
        return None


def find_missing_classes(dataset: SemiDataset) -> tuple[list[str], int]:
    """Classes that no labelled pixel has.

    Returns:
        Their names, and how many masks were read.
    """
    classes = list(dataset.metainfo.get("classes") or ())
    span = dataset.source_ranges["labeled"]
    step = max(1, -(-len(span) // MAX_MASKS))
    absent, read = set(range(len(classes))), 0
    for index in span[::step]:
        if not absent:
            break
        _, part, local = dataset.locate(index)
        mask = _load_mask(part, part.get_data_info(local))
        if mask is None or not np.issubdtype(mask.dtype, np.integer) or mask.size == 0:
            continue
        read += 1
        absent.difference_update(np.flatnonzero(np.bincount(mask.ravel())).tolist())
    return ([classes[number] for number in sorted(absent)], read) if read else ([], 0)


def _report_missing_classes(dataset: SemiDataset) -> None:
    missing, read = find_missing_classes(dataset)
    if missing:
        total = len(dataset.source_ranges["labeled"])
        more = f" and {len(missing) - 10} more classes" if len(missing) > 10 else ""
        print_log(
            f"no labelled pixel of {', '.join(map(repr, missing[:10]))}{more} in "
            f"{read} of {total} labelled masks"
            f"{' (the others were not read)' if read < total else ''}: the network cannot learn "
            "such a class",
            "current",
            logging.WARNING,
        )
