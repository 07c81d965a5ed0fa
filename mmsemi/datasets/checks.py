# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Guards that run once before training."""

from __future__ import annotations

import hashlib
import os.path as osp

from torch.utils.data import Dataset

from .semi_dataset import SemiDataset, insert_mask_checks


def _unwrap(dataset: Dataset) -> Dataset:
    """The dataset inside stock wrappers such as ``RepeatDataset``."""
    while isinstance(getattr(dataset, "dataset", None), Dataset):
        dataset = dataset.dataset
    return dataset


def _img_paths(dataset: Dataset) -> list[str]:
    if not hasattr(dataset, "get_data_info"):
        return []
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    return [info["img_path"] for info in infos if "img_path" in info]


def _content(path: str) -> tuple[int, str]:
    with open(path, "rb") as file:
        return osp.getsize(path), hashlib.sha256(file.read()).hexdigest()


def check_leakage(train_dataset: Dataset, val_dataset: Dataset) -> None:
    """Refuse to train on images of the validation set.

    Images are compared by resolved path (links are followed); images of the same file name in
    different folders also by content, so that a copied validation image is found and equal
    numbering in different folders is not mistaken for one. The validation masks get the same checks
    as the training masks.

    Raises:
        ValueError: A training image is a validation image; the message names source and files.
    """
    train_dataset, val_dataset = _unwrap(train_dataset), _unwrap(val_dataset)
    insert_mask_checks(val_dataset)
    if not isinstance(train_dataset, SemiDataset):
        return
    val_paths = _img_paths(val_dataset)
    resolved = {osp.realpath(path): path for path in val_paths}
    by_name: dict[str, list[str]] = {}
    for path in val_paths:
        by_name.setdefault(osp.basename(path), []).append(path)
    for source in train_dataset.source_ranges:
        leaked = []
        for path in train_dataset.img_paths(source):
            twin = resolved.get(osp.realpath(path)) or next(
                (
                    other
                    for other in by_name.get(osp.basename(path), [])
                    if osp.isfile(path)
                    and osp.isfile(other)
                    and osp.getsize(path) == osp.getsize(other)
                    and _content(path) == _content(other)
                ),
                None,
            )
            if twin is not None:
                leaked.append((path, twin))
        if leaked:
            path, twin = leaked[0]
            raise ValueError(
                f"{len(leaked)} {source} training images are validation images, the first is "
                f"'{path}' (validation: '{twin}'): take them out of the training list or folder"
            )
