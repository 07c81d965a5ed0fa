# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The sources of a :class:`~mmsemi.datasets.SemiDataset` from its config."""

from __future__ import annotations

import copy
import os
import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from mmengine.dataset import BaseDataset, Compose
from mmseg.registry import DATASETS, TASK_UTILS
from torch.utils.data import Dataset

from ..errors import ConfigError, DataError, UserError
from ..utils import check_keys
from .files import common_folder, relative_ids
from .pipelines import fill_crop_size, insert_mask_checks, weak_pipeline
from .sources import Source
from .splits import PublishedSplit, check_split

_KEY = "train_dataloader.dataset"


@dataclass
class SourceSet:
    """The sources that could be built, and what kept the others from it.

    Attributes:
        sources: By name, in the order of the config.
        all_labeled: All images of the labelled data set, also those that the split leaves unlabelled.
        labeled_ids, unlabeled_ids: What the split made of them.
        path_of: Image path of every id of the labelled data set, sorted by id.
        split_name: Name or settings of the split.
        errors: Why, by the name of the source or setting that is at fault.
    """

    sources: dict[str, Source] = field(default_factory=dict)
    all_labeled: Source | None = None
    labeled_ids: list[str] = field(default_factory=list)
    unlabeled_ids: list[str] = field(default_factory=list)
    path_of: dict[str, str] = field(default_factory=dict)
    split_name: str = "none (all masks)"
    errors: dict[str, Exception] = field(default_factory=dict)

    def add(self, source: Source | None) -> None:
        """Add a source, if there is one."""
        if source is not None:
            self.sources[source.name] = source

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Keep an error, so that one mistake does not hide the others."""
        try:
            yield
        except Exception as error:
            self.errors[name] = error


def build_sources(
    labeled: dict,
    unlabeled: dict | None = None,
    split: dict | None = None,
    sources: dict[str, dict] | None = None,
    crop_size: tuple[int, int] | None = None,
) -> SourceSet:
    """Build what can be built; the arguments are those of :class:`~mmsemi.datasets.SemiDataset`."""
    found, taken = SourceSet(), 0
    labeled, unlabeled, sources = copy.deepcopy((labeled, unlabeled, dict(sources or {})))
    with found.attempt("labeled"):
        taken += fill_crop_size(labeled, crop_size)
        dataset = build_dataset("labelled", labeled)
        # Until the split has said which, no mask may be opened.
        found.all_labeled = Source("labeled", dataset, range(len(dataset)), opens_masks=False)
        found.sources["labeled"] = found.all_labeled
        with found.attempt("split"):
            _split(found, split, where(labeled))
    if unlabeled is not None:
        with found.attempt("unlabeled"):
            if "pipeline" not in unlabeled:
                unlabeled["pipeline"] = weak_pipeline(labeled)
            taken += fill_crop_size(unlabeled, crop_size)
            found.add(_build_unlabeled(unlabeled, found))
    for name, config in sources.items():
        with found.attempt(f"sources.{name}"):
            taken += fill_crop_size(config, crop_size)
            found.add(_build_further(name, config, found.sources.get("labeled")))
    for source in found.sources.values():
        if source.dataset is not None:
            insert_mask_checks(source.dataset)
    if crop_size is not None and not taken and not found.errors:
        found.errors["crop_size"] = ConfigError(
            f"{_KEY}.crop_size={crop_size} is used by no transform: each one that crops sets a "
            "crop_size of its own, remove those or this one"
        )
    return found


# --- The labelled source and its split ------------------------------------------------------------


def _split(found: SourceSet, config: dict | None, described: str) -> None:
    """Restrict the labelled source to the images that the split labels."""
    whole, paths = found.all_labeled, found.all_labeled.img_paths
    ids = relative_ids(paths)
    index_of = {name: i for i, name in enumerate(ids)}
    if len(index_of) < len(ids):
        twice = next(name for i, name in enumerate(ids) if index_of[name] != i)
        raise DataError(f"the labelled data set {described} lists '{twice}' twice: remove one")
    names = sorted(ids)
    found.path_of = {name: paths[index_of[name]] for name in names}
    if config is None:
        labeled, unlabeled = names, []
    else:
        split = TASK_UTILS.build(config)
        if isinstance(split, PublishedSplit):
            split.image_folder = common_folder(paths)
        options = ", ".join(f"{key}={value!r}" for key, value in config.items() if key != "type")
        name = getattr(split, "name", None) or f"{type(split).__name__}({options})"
        labeled, unlabeled = split(names)
        check_split(labeled, unlabeled, name, getattr(split, "allow_overlap", False))
        found.split_name = name
    found.labeled_ids, found.unlabeled_ids = labeled, unlabeled
    chosen = [index_of[name] for name in labeled]
    found.sources["labeled"] = replace(whole, indices=chosen, opens_masks=True)


# --- The other sources ----------------------------------------------------------------------------


def _build_unlabeled(config: dict, found: SourceSet) -> Source | None:
    """The unlabelled source; None if it is made of a labelled data set that could not be built."""
    has_folder, whole = config.get("img_dir") is not None, found.all_labeled
    pool = config.pop("pool", None if has_folder else "rest")
    if pool not in ("rest", "all", None):
        raise ConfigError(f"{_KEY}.unlabeled.pool={pool!r} must be 'rest', 'all' or None")
    pooled: list[str] = []
    if pool == "all":
        pooled = list(found.path_of.values())
    elif pool == "rest":
        pooled = [found.path_of[name] for name in found.unlabeled_ids]
    if not has_folder and not pooled:
        # Legal for the baseline with all masks; the sampler refuses to draw from it.
        return Source("unlabeled", None, (), pool=pool) if whole is not None else None
    config.setdefault("type", "UnlabeledDataset")
    meta = {} if whole is None else whole.metainfo
    config.setdefault("metainfo", {k: meta[k] for k in ("classes", "palette") if k in meta})
    if has_folder and pooled:
        folder = DATASETS.build({**config, "lazy_init": True})
        pooled = sorted({*pooled, *(info["img_path"] for info in folder.load_data_list())})
    if pooled:
        for key in ("img_dir", "ann_file", "data_root"):
            config.pop(key, None)
        config["img_paths"] = pooled
    dataset = build_dataset("unlabelled", config)
    return Source("unlabeled", dataset, range(len(dataset)), pool=pool, opens_masks=False)


def _build_further(name: str, config: dict, labeled: Source | None) -> Source | None:
    """A further source; None if it draws labelled images of a set that could not be built."""
    key = f"{_KEY}.sources.{name}"
    if name in ("labeled", "unlabeled"):
        raise ConfigError(
            f"{key}: '{name}' is a source of its own, write its settings into {_KEY}.{name}"
        )
    if "pool" not in config:
        dataset = build_dataset(name, config)
        return Source(name, dataset, range(len(dataset)))
    if config["pool"] != "labeled":
        raise ConfigError(
            f"{key}.pool={config['pool']!r} must be 'labeled', the images that the split labels; "
            "without pool the source is a data set of its own"
        )
    config = check_keys(config, dict(pool=None, pipeline=None), key)
    if labeled is None:
        return None
    dataset = _with_pipeline(labeled.dataset, config["pipeline"])
    return Source(name, dataset, labeled.indices, "labeled", opens_masks=labeled.opens_masks)


def _with_pipeline(dataset: BaseDataset, pipeline: list[dict] | None) -> BaseDataset:
    """A data set with the files of another one, which are listed once, and its own pipeline."""
    dataset = copy.copy(dataset)
    if hasattr(dataset, "datasets"):
        dataset.datasets = [_with_pipeline(part, pipeline) for part in dataset.datasets]
    elif isinstance(getattr(dataset, "dataset", None), Dataset):
        dataset.dataset = _with_pipeline(dataset.dataset, pipeline)
    elif pipeline is not None:
        dataset.pipeline = Compose(copy.deepcopy(pipeline))
    return dataset


# --- One data set ---------------------------------------------------------------------------------


def where(config: dict) -> str:
    """Type and folder of a data set config, for messages."""
    prefix = config.get("data_prefix") or {}
    folder = config.get("img_dir") or prefix.get("img_path") or ""
    folder = osp.join(config.get("data_root") or "", folder)
    return f"{config.get('type')} at '{folder}'"


def build_dataset(source: str, config: dict) -> BaseDataset:
    """Build a data set; stock complaints about its files become a line that names them.

    Raises:
        DataError: A file or folder is missing or not what it should be, or there is no image.
    """
    described = f"the {source} data set {where(config)}"
    try:
        dataset = DATASETS.build(config)
        dataset.full_init()
    except UserError:
        raise
    except UnicodeDecodeError as error:
        list_file = osp.join(config.get("data_root") or "", config.get("ann_file") or "")
        raise DataError(f"{described}: '{list_file}' is no text with one image a line") from error
    except (AssertionError, FileNotFoundError) as error:  # mmseg asserts that ann_file exists
        raise DataError(f"{described}: {error} (searched from '{os.getcwd()}')") from error
    except ValueError as error:
        # What stock mmengine says when it packs an empty list.
        if "at least one array" not in str(error):
            raise DataError(f"{described}: {error}") from error
        dataset = ()
    if not len(dataset):
        raise DataError(
            f"{described} holds no image: check data_root, data_prefix, img_suffix and ann_file"
        )
    return dataset
