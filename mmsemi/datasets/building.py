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

from ..errors import ConfigError, DataError, UserError
from ..utils import check_keys
from .files import common_folder, relative_ids
from .pipelines import fill_crop_size, insert_mask_checks, refuse_mask_loaders, weak_pipeline
from .pseudo_labels import PseudoLabelDataset
from .sources import Source, leaves, mixes_images, restricted, wrapped
from .splits import PublishedSplit, check_split
from .unlabeled import UnlabeledDataset

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
            _complete_unlabeled(unlabeled, labeled, found.all_labeled)
            taken += fill_crop_size(unlabeled, crop_size)
            found.add(_build_unlabeled(unlabeled, found))
    for name, config in sources.items():
        with found.attempt(f"sources.{name}"):
            _complete_stored(config, labeled, found.all_labeled)
            taken += fill_crop_size(config, crop_size)
            found.add(_build_further(name, config, found.sources.get("labeled")))
    for source in found.sources.values():
        if source.dataset is not None:
            insert_mask_checks(source.dataset)
            for leaf in leaves(source.dataset):
                # It would draw from all its images, also those without a label: SemiDataset draws.
                leaf.max_refetch = 0
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
    sample_of = dict(zip(ids, whole.positions))
    if len(sample_of) < len(ids):
        twice = next(
            name for name, sample in zip(ids, whole.positions) if sample_of[name] != sample
        )
        raise DataError(f"the labelled data set {described} lists '{twice}' twice: remove one")
    names = sorted(ids)
    found.path_of = dict(sorted(zip(ids, paths)))
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
    samples = [sample_of[name] for name in labeled]
    if len(labeled) < len(ids) and mixes_images(whole.dataset):
        # What a wrapper draws besides a sample must be labelled, too.
        indices: dict[int, list[int]] = {}
        for leaf, index in samples:
            indices.setdefault(leaf, []).append(index)
        order = {found.path_of[name]: number for number, name in enumerate(labeled)}
        dataset = restricted(whole.dataset, indices)
        whole = Source("labeled", dataset, range(len(dataset)))
        samples = sorted(whole.positions, key=lambda one: order[whole.path(one)])
    chosen = [position for sample in samples for position in whole.positions[sample]]
    found.sources["labeled"] = replace(whole, indices=chosen, opens_masks=True)


# --- The other sources ----------------------------------------------------------------------------


def _build_unlabeled(config: dict, found: SourceSet) -> Source | None:
    """The unlabelled source; None if it is made of a labelled data set that could not be built."""
    has_folder, whole = config.get("img_dir") is not None, found.all_labeled
    is_other = not issubclass(_type_of(config), UnlabeledDataset)
    pool = config.pop("pool", None if has_folder or is_other else "rest")
    if pool not in ("rest", "all", None):
        raise ConfigError(f"{_KEY}.unlabeled.pool={pool!r} must be 'rest', 'all' or None")
    if is_other:
        if pool is not None:
            raise ConfigError(
                f"{_KEY}.unlabeled.pool={pool!r} is for an UnlabeledDataset, the type is "
                f"{_type_of(config).__name__}: leave out the type (several folders: img_dir=[...]), or "
                "the pool"
            )
        dataset = build_dataset("unlabelled", config)
        for leaf in leaves(dataset):
            refuse_mask_loaders(leaf)
        return Source("unlabeled", dataset, range(len(dataset)), opens_masks=False)
    pooled: list[str] = []
    if pool == "all":
        pooled = list(found.path_of.values())
    elif pool == "rest":
        pooled = [found.path_of[name] for name in found.unlabeled_ids]
    if not has_folder and not pooled:
        # Legal for the baseline with all masks; the sampler refuses to draw from it.
        return Source("unlabeled", None, (), pool=pool) if whole is not None else None
    if has_folder and pooled:
        folder = DATASETS.build({**config, "lazy_init": True})
        pooled = sorted({*pooled, *(info["img_path"] for info in folder.load_data_list())})
    if pooled:
        for key in ("img_dir", "ann_file", "data_root"):
            config.pop(key, None)
        config["img_paths"] = pooled
    dataset = build_dataset("unlabelled", config)
    return Source("unlabeled", dataset, range(len(dataset)), pool=pool, opens_masks=False)


def _type_of(config: dict) -> type:
    """The class that a data set config names; images without masks where it names none."""
    kind = config.get("type") or UnlabeledDataset
    cls = DATASETS.get(kind) if isinstance(kind, str) else kind
    if not isinstance(cls, type):
        raise ConfigError(f"{_KEY}.unlabeled.type={kind!r} is no data set")
    return cls


def _complete_unlabeled(config: dict, labeled: dict, whole: Source | None) -> None:
    """Give each data set in an unlabelled config, at any depth, what it leaves to the labelled one."""
    inside = config.get("datasets") or [config[key] for key in ("dataset",) if key in config]
    for part in inside:
        _complete_unlabeled(part, labeled, whole)
    if inside:
        return
    config.setdefault("type", "UnlabeledDataset")
    if issubclass(_type_of(config), UnlabeledDataset):
        meta = {} if whole is None else whole.metainfo
        config.setdefault("metainfo", {k: meta[k] for k in ("classes", "palette") if k in meta})
    if "pipeline" not in config:
        leaf, index = (None, 0) if whole is None else whole.locate(0)
        config["pipeline"] = weak_pipeline(labeled, leaf and leaf.get_data_info(index))


def _complete_stored(config: dict, labeled: dict, whole: Source | None) -> None:
    """Give each set of stored labels in a config, at any depth, what it leaves to the labelled one."""
    inside = config.get("datasets") or [config[key] for key in ("dataset",) if key in config]
    for part in inside:
        _complete_stored(part, labeled, whole)
    kind = config.get("type")
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    if inside or not (isinstance(kind, type) and issubclass(kind, PseudoLabelDataset)):
        return
    meta = {} if whole is None else whole.metainfo
    config.setdefault("metainfo", {k: meta[k] for k in ("classes", "palette") if k in meta})
    if "pipeline" in labeled:
        config.setdefault("pipeline", copy.deepcopy(labeled["pipeline"]))


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
    elif wrapped(dataset) is not None:
        dataset.dataset = _with_pipeline(dataset.dataset, pipeline)
    elif pipeline is not None:
        dataset.pipeline = Compose(copy.deepcopy(pipeline))
    return dataset


# --- One data set ---------------------------------------------------------------------------------


def where(config: dict) -> str:
    """Type and folder of a data set config, for messages."""
    prefix = config.get("data_prefix") or {}
    folders = config.get("img_dir") or prefix.get("img_path") or ""
    folders = folders if isinstance(folders, (list, tuple)) else [folders]
    folders = (f"'{osp.join(config.get('data_root') or '', folder)}'" for folder in folders)
    kind = config.get("type")
    return f"{getattr(kind, '__name__', kind)} at {', '.join(folders)}"


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
