# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The rules that are cheap enough for the start of every training."""

from __future__ import annotations

import logging
import os.path as osp
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log
from torch import nn
from torch.utils.data import Dataset

from ...errors import DataError
from ..files import JPEG_SUFFIXES
from ..semi_dataset import SemiDataset
from ..sources import Source, leaves, unwrap
from .findings import Finding
from .rules import RULES, judge
from .scan import content_hash, scan_mask, scan_orientation
from .survey import Found, Survey
from .void_faults import void_of_metrics, void_of_model

# Masks that the search for missing classes reads at most; it stops at once when none is missing.
MAX_MASKS = 2000
_MISSING = ("image-missing", "mask-missing", "list-unknown-id")
_LEVELS = dict(warning=logging.WARNING, info=logging.INFO)


def check_at_start(
    train_dataset: Dataset,
    val_dataset: Dataset | None = None,
    model: nn.Module | None = None,
    metrics: Iterable[object] = (),
) -> None:
    """Refuse data that a training must not start with, and log what is most likely not meant.

    Names of files are compared, and almost none is opened: labelled masks until each class was seen
    and headers of labelled JPEG images (in the main process), and images that share name and size
    with a validation image.

    Args:
        train_dataset: Of one that is no :class:`~mmsemi.datasets.SemiDataset`, the classes are checked.
        val_dataset: A stock data set, if the run validates.
        model: What is trained, if its number of classes and its value of pixels without a label are to
            be compared.
        metrics: Of the validation.

    Raises:
        DataError: A rule finds an error; the message is the first one's, in every process.
            ``max_unreadable`` of the training set allows missing files.
    """
    train = unwrap(train_dataset)
    classes = dict(num_classes=getattr(model, "num_classes", None))
    if hasattr(model, "classes_setting"):
        classes["classes_setting"] = model.classes_setting
    if not isinstance(train, SemiDataset):
        survey = Survey([Source("train", train, range(len(train)))], **classes)
        for one in RULES["classes-differ-from-model"].judge(survey):
            raise DataError(one.line)
        return
    sources = list(train.sources.values())
    if val_dataset is not None and _lists_images(val_dataset):
        sources.append(Source.of_stock("val", val_dataset))
    void = [] if model is None else [*void_of_model(model), *void_of_metrics(metrics)]
    survey = Survey(sources, hidden_masks=train.hidden_masks(), void=void, **classes)
    survey.contents = hash_namesakes(survey)
    if is_main_process():
        survey.found = {**read_until_all_classes(survey), **read_orientations(survey)}

    findings = judge(survey, ("names", "few"))
    missing = [one for one in findings if one.code in _MISSING and one.source in train.sources]
    if sum(one.count for one in missing) <= train.max_unreadable:
        for one in missing:
            one.severity = "warning"
    errors = [one for one in findings if one.severity == "error"]
    message = [_first(errors, missing, train.max_unreadable) if errors else None]
    own = message[0]
    broadcast_object_list(message)  # the main process has read more
    if message[0] or own:
        raise DataError(message[0] or own)
    for one in findings:
        print_log(one.line, "current", _LEVELS[one.severity])


def _first(errors: list[Finding], missing: list[Finding], max_unreadable: int) -> str:
    """The first error, and how many more there are."""
    allowed = (
        f" (train_dataloader.dataset.max_unreadable={max_unreadable} skips so many)"
        if errors[0] in missing
        else ""
    )
    more = f"; {len(errors) - 1} more: mmsemi check-dataset" if len(errors) > 1 else ""
    return f"{errors[0].line}{allowed}{more}"


def _lists_images(dataset: Dataset) -> bool:
    """Whether a data set says where its images are."""
    return all(
        hasattr(leaf, "get_data_info") and len(leaf) and "img_path" in leaf.get_data_info(0)
        for leaf in leaves(dataset)
    )


def hash_namesakes(survey: Survey) -> dict[str, str]:
    """Hashes of the training and held-out images that share name and size; no other is read.

    So a copied validation image is found, and equal numbering in different folders is not mistaken
    for one.
    """
    namesakes: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for source in survey.sources:
        for path in source.img_paths:
            namesakes[osp.basename(path)][source.role != "train"].append(path)
    hashes = {}
    for train, held_out in namesakes.values():
        if train and held_out:
            sizes = {p: osp.getsize(p) for p in (*train, *held_out) if osp.isfile(p)}
            shared = {sizes.get(p) for p in train} & {sizes.get(p) for p in held_out}
            for path, size in sizes.items():
                if size in shared:
                    hashes[path] = content_hash(Path(path).read_bytes())
    return hashes


def read_until_all_classes(survey: Survey) -> Found:
    """Masks of the training sources, until each class has a pixel or :data:`MAX_MASKS` were read."""
    found: dict = {}
    train = [s for s in survey.sources if s.role == "train" and s.pool != "labeled" and s.masks]
    absent = set(range(len(train[0].classes))) if train else set()
    for source in (source for source in train if source.classes == train[0].classes):
        items = [item for item in source.items if item.mask_path and item.part.has_plain_masks]
        for item in items[:: max(1, -(-len(items) // MAX_MASKS))]:
            if not absent:
                return found
            mask = scan_mask(item.mask_path, item.part.backend_args)
            found["mask", item.mask_path] = mask
            absent -= {int(item.part.label_table[v]) for v in mask.histogram if 0 <= v < 256}
    return found


def read_orientations(survey: Survey) -> Found:
    """Headers of labelled images in formats of cameras, at most :data:`MAX_MASKS` of a source."""
    found: dict = {}
    for source in survey.sources:
        items = [
            item.img_path
            for item in source.items
            if item.mask_path
            and item.part.is_local
            and item.img_path.lower().endswith((*JPEG_SUFFIXES, ".tif", ".tiff"))
        ]
        for path in items[:: max(1, -(-len(items) // MAX_MASKS))]:
            found["image", path] = scan_orientation(path)
    return found
