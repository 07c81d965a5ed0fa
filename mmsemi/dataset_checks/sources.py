# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Which files a config trains, validates and tests with, source by source.

The data sets themselves say so: they are built as the runner would build them. A training set that
cannot be built is taken apart, so that one mistake does not hide the others.
"""

from __future__ import annotations

import copy
import os
import os.path as osp
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS, TASK_UTILS
from torch.utils.data import Dataset

from ..datasets import SemiDataset, UnlabeledDataset
from ..datasets.files import common_folder, relative_ids
from ..launch import find_deliberate_message
from .findings import Finding


@dataclass(frozen=True)
class Origin:
    """Where the samples of a source come from, and how their masks are read.

    Attributes:
        img_dir: Folder of the images, None for given paths.
        mask_dir: Folder of the masks, None without masks.
        img_suffix: Suffix of the images.
        mask_suffix: Suffix of the masks.
        list_file: The list file, '' for every image of the folder.
        mask_backend: How masks are decoded.
        backend_args: Settings of the file storage.
        label_table: (256,) uint8, what a stored value becomes.
        reads_images: Images come from ordinary picture files.
        reads_masks: The pipeline loads masks, from ordinary picture files.
    """

    img_dir: str | None = None
    mask_dir: str | None = None
    img_suffix: str = ""
    mask_suffix: str = ""
    list_file: str = ""
    mask_backend: str = "pillow"
    backend_args: dict | None = field(default=None, hash=False)
    label_table: np.ndarray = field(
        default_factory=lambda: np.arange(256, dtype=np.uint8), hash=False, compare=False
    )
    reads_images: bool = True
    reads_masks: bool = True


@dataclass(frozen=True)
class Item:
    """One sample: its image, its mask (None if it has none or must not be opened), its origin."""

    img_path: str
    mask_path: str | None
    origin: Origin


@dataclass
class Source:
    """All samples of one name.

    Attributes:
        name: 'labeled', 'unlabeled', the name of a further source, 'train', 'val' or 'test'.
        role: 'train', 'val' or 'test'.
        items: The samples.
        classes: Class names.
        palette: Their colours.
        ignore_index: Value of pixels without a label.
        crop_hw: Training crop of images in their own size, None if there is none.
        pool: Of the unlabelled source: 'rest', 'all' or None; 'labeled' for a source that draws
            the labelled images once more.
        known_masks: Masks of the labelled data set, by real path; none of them is opened for it.
    """

    name: str
    role: str
    items: list[Item]
    classes: tuple[str, ...] = ()
    palette: list = field(default_factory=list)
    ignore_index: int = 255
    crop_hw: tuple[int, int] | None = None
    pool: str | None = None
    known_masks: frozenset[str] = frozenset()

    @property
    def origins(self) -> list[Origin]:
        """The different origins of the samples."""
        return list({id(item.origin): item.origin for item in self.items}.values())


@dataclass
class Collection:
    """What a config names: its sources, the faults met on the way, the training set if it builds."""

    sources: list[Source] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    train_dataset: Dataset | None = None
    list_files: list[str] = field(default_factory=list)


# --- Data sets ------------------------------------------------------------------------------------


def leaves(dataset: Dataset) -> Iterator[BaseDataset]:
    """The data sets inside stock wrappers (``RepeatDataset``, ``ConcatDataset``, ...)."""
    if isinstance(getattr(dataset, "dataset", None), Dataset):
        yield from leaves(dataset.dataset)
    elif getattr(dataset, "datasets", None):
        for part in dataset.datasets:
            yield from leaves(part)
    else:
        yield dataset


def _transforms(transform) -> Iterator[object]:
    """All transforms of a pipeline, those inside ``RandomChoice`` and the like too."""
    inner = getattr(transform, "transforms", None)
    if inner is None:
        yield transform
        return
    for part in inner if isinstance(inner, (list, tuple)) else [inner]:
        yield from _transforms(part)


def _origin(leaf: BaseDataset) -> Origin:
    prefix = getattr(leaf, "data_prefix", None) or {}
    ann_file = getattr(leaf, "ann_file", "") or ""
    steps = list(_transforms(leaf.pipeline))
    names = [type(step).__name__ for step in steps]
    masks = [step for step in steps if "Annotation" in type(step).__name__]
    table = np.arange(256, dtype=np.uint8)
    # As the loader does it: first the shift, then the map of chosen classes.
    if getattr(leaf, "reduce_zero_label", False):
        table = table - 1
        table[table == 254] = 255
    if getattr(leaf, "label_map", None):
        mapped = np.arange(256, dtype=np.uint8)
        for old, new in leaf.label_map.items():
            mapped[old] = new
        table = mapped[table]
    plain_masks = {"LoadAnnotations", "LoadCheckedAnnotations"}
    return Origin(
        img_dir=prefix.get("img_path"),
        mask_dir=prefix.get("seg_map_path"),
        img_suffix=getattr(leaf, "img_suffix", ""),
        mask_suffix=getattr(leaf, "seg_map_suffix", ""),
        list_file="" if osp.isdir(ann_file) else ann_file,
        mask_backend=getattr(masks[0], "imdecode_backend", "pillow") if masks else "pillow",
        backend_args=getattr(leaf, "backend_args", None),
        label_table=table,
        reads_images=not any(n.startswith("Load") and "Image" in n for n in names)
        or "LoadImageFromFile" in names,
        reads_masks=bool(masks) and type(masks[0]).__name__ in plain_masks,
    )


def _crop(leaf: BaseDataset) -> tuple[int, int] | None:
    """The training crop, where no transform before it brings images to a fixed size."""
    for step in _transforms(leaf.pipeline):
        name = type(step).__name__
        if "Resize" in name and getattr(step, "scale", None):
            return None
        if name in ("RandomChoiceResize", "ResizeShortestEdge", "RandomCoveringResize"):
            return None
        if name == "RandomCrop":
            size = step.crop_size
            return (size, size) if isinstance(size, int) else tuple(size)
    return None


def _source(name: str, role: str, leaf: BaseDataset, items: list[Item]) -> Source:
    meta = leaf.metainfo
    return Source(
        name,
        role,
        items,
        classes=tuple(meta.get("classes") or ()),
        palette=[list(colour) for colour in meta.get("palette") or ()],
        ignore_index=getattr(leaf, "ignore_index", 255),
        crop_hw=_crop(leaf) if role == "train" else None,
    )


def _item(info: dict, origin: Origin) -> Item:
    reads_mask = origin.reads_masks and info.get("seg_map_path")
    return Item(info["img_path"], info["seg_map_path"] if reads_mask else None, origin)


def _plain_source(name: str, role: str, dataset: Dataset) -> Source:
    items, first = [], None
    for leaf in leaves(dataset):
        first, origin = first or leaf, _origin(leaf)
        items += [_item(leaf.get_data_info(i), origin) for i in range(len(leaf))]
    return _source(name, role, first, items)


def _mask_paths(dataset: Dataset) -> frozenset[str]:
    infos = (leaf.get_data_info(i) for leaf in leaves(dataset) for i in range(len(leaf)))
    return frozenset(osp.realpath(i["seg_map_path"]) for i in infos if i.get("seg_map_path"))


def _semi_sources(dataset: SemiDataset, config: dict) -> list[Source]:
    """The sources as training draws from them; masks of unlabelled images are not in them."""
    sources, origins = [], {}
    for name, span in dataset.source_ranges.items():
        items, first = [], None
        for index in span:
            _, part, local = dataset.locate(index)
            leaf = next(leaves(part))
            first = first or leaf
            origin = origins.setdefault(id(leaf), _origin(leaf))
            items.append(_item(part.get_data_info(local), origin))
        if first is not None:
            sources.append(_source(name, "train", first, items))
    for source in sources:
        if source.name == "unlabeled":
            unlabeled = config.get("unlabeled") or {}
            default = None if unlabeled.get("img_dir") is not None else "rest"
            source.pool = unlabeled.get("pool", default)
        elif source.name != "labeled":
            source.pool = config["sources"][source.name].get("pool")
    return sources


# --- Configs --------------------------------------------------------------------------------------


def _build(config: dict, where: str) -> tuple[Dataset | None, Finding | None]:
    """Build a data set; a failure is a finding, whoever raised it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = DATASETS.build(copy.deepcopy(config))
            if hasattr(dataset, "full_init"):
                dataset.full_init()
        if len(dataset):
            return dataset, None
        reason = "it holds no image"
    except Exception as error:
        reason = find_deliberate_message(error) or str(error) or type(error).__name__
        if "at least one array" in reason:  # what stock mmengine says of an empty list
            reason = "it holds no image"
    if osp.sep not in reason and "/" not in reason:
        prefix = config.get("data_prefix") or {}
        folder = osp.join(config.get("data_root") or "", prefix.get("img_path") or "")
        reason = f"{reason} ({config.get('type')} at '{folder}')"
    first = reason.strip().splitlines()[0]
    return None, Finding(
        "error",
        "dataset-cannot-be-built",
        where,
        1,
        text=first,
        fix=f"correct {where}; its paths are relative to '{os.getcwd()}'",
    )


def _is_semi(config: dict) -> bool:
    kind = config.get("type")
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, SemiDataset)


def _take_apart(config: dict, where: str, found: Collection, whole: Finding) -> None:
    """The sources of a SemiDataset that cannot be built as a whole, with the reason why."""
    reasons, split_works = [], True
    labeled, finding = _build(config.get("labeled") or {}, f"{where}.labeled")
    masks: frozenset[str] = frozenset()
    if finding is not None:
        reasons.append(finding)
    else:
        source = _plain_source("labeled", "train", labeled)
        masks = _mask_paths(labeled)
        source.items, split_works = _labeled_items(config.get("split"), source.items)
        found.sources.append(source)
    unlabeled = dict(config.get("unlabeled") or {})
    if unlabeled.get("img_dir") is not None:
        pool = unlabeled.pop("pool", None)
        kind = unlabeled.setdefault("type", "UnlabeledDataset")
        if DATASETS.get(kind) is UnlabeledDataset:
            unlabeled.setdefault("pipeline", [])
        dataset, finding = _build(unlabeled, f"{where}.unlabeled")
        if finding is not None:
            reasons.append(finding)
        else:
            source = _plain_source("unlabeled", "train", dataset)
            source.pool, source.known_masks = pool, masks
            if labeled is not None:
                meta = next(leaves(labeled)).metainfo
                source.classes = tuple(meta.get("classes") or ())
                source.palette = [list(colour) for colour in meta.get("palette") or ()]
            found.sources.append(source)
    for name, part in (config.get("sources") or {}).items():
        if "pool" in part:  # has the labelled files, whose faults are known by now
            continue
        dataset, finding = _build(part, f"{where}.sources.{name}")
        if finding is not None:
            reasons.append(finding)
        else:
            found.sources.append(_plain_source(name, "train", dataset))
    # A part that cannot be built says it more exactly than the whole, which may have other reasons.
    found.findings += reasons if reasons and split_works else [whole, *reasons]


def _labeled_items(split: dict | None, items: list[Item]) -> tuple[list[Item], bool]:
    """The items that keep their masks, and True; all of them without masks if the split fails."""
    items = list({item.img_path: item for item in items}.values())
    if split is None:
        return items, True
    by_id = dict(zip(relative_ids([item.img_path for item in items]), items))
    try:
        rule = TASK_UTILS.build(copy.deepcopy(split))
        if hasattr(rule, "image_folder"):  # as SemiDataset tells a PublishedSplit
            rule.image_folder = common_folder([item.img_path for item in items])
        labeled, _ = rule(sorted(by_id))
    except Exception:  # its message is the reason why the whole could not be built
        return [replace(item, mask_path=None) for item in items], False
    return [by_id[name] for name in labeled], True


def _same_files(first: dict, second: dict) -> bool:
    """Whether two data sets are the same but for their pipelines."""
    return {k: v for k, v in first.items() if k != "pipeline"} == {
        k: v for k, v in second.items() if k != "pipeline"
    }


def collect(config: dict) -> Collection:
    """The sources of a config's training, validation and test loaders.

    Args:
        config: A loaded config; any of the three loaders may be missing.

    Returns:
        The sources, with a finding for everything that could not be built.
    """
    found = Collection()
    for role in ("train", "val", "test"):
        loader = config.get(f"{role}_dataloader")
        if not loader or not loader.get("dataset"):
            continue
        part, where = loader["dataset"], f"{role}_dataloader.dataset"
        before = config.get("val_dataloader")
        if role == "test" and before and _same_files(before.get("dataset") or {}, part):
            continue
        dataset, finding = _build(part, where)
        if finding is not None:
            if role == "train" and _is_semi(part):
                _take_apart(part, where, found, finding)
            else:
                found.findings.append(finding)
        elif isinstance(dataset, SemiDataset):
            found.sources += _semi_sources(dataset, part)
        else:
            found.sources.append(_plain_source(role, role, dataset))
        if role == "train":
            found.train_dataset = dataset
            split = part.get("split") or {}
            found.list_files += [split[k] for k in ("labeled", "unlabeled") if split.get(k)]
    found.list_files += [o.list_file for s in found.sources for o in s.origins if o.list_file]
    found.list_files = list(dict.fromkeys(found.list_files))
    return found
