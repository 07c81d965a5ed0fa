# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The training set of a semi-supervised run: several sources, each with a name.

The name (``labeled``, ``unlabeled``, ``gt``, ``pseudo``) is what sampler and preprocessor go
by; whether a mask is present decides nothing.
"""

from __future__ import annotations

import copy
import os.path as osp
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.dataset import BaseDataset, Compose
from mmengine.logging import print_log
from mmseg.registry import DATASETS, TASK_UTILS
from torch.utils.data import Dataset

from .files import common_folder, relative_ids, resolve_files
from .samplers import Draw
from .sources import build_dataset, build_pooled, insert_mask_checks, weak_pipeline, where
from .splits import LabeledUnlabeled, PublishedSplit, check_split, ids_sha256


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, which transforms use, for a while.

    They are put back, so that a process that loads in its main thread (num_workers=0) has the same
    random stream as one that does not.
    """
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])


# More broken images in a row than this are no accident.
_MAX_REDRAWS = 100


@DATASETS.register_module()
class SemiDataset(Dataset):
    """Labelled and unlabelled images, and any further named source, in one dataset.

    Args:
        labeled: Config of any mmseg dataset; its pipeline ends in ``PackSemiInputs`` (or the stock
            ``PackSegInputs``).
        unlabeled: Config of the unlabelled source, or ``None`` for none. Its ``pipeline`` defaults
            to :func:`weak_pipeline` of the labelled source. Where the images come from:

            - ``pool='rest'`` (default without a folder): the images that ``split`` left unlabelled;
            - ``pool='all'``: every image of the labelled dataset, the labelled ones included;
            - ``img_dir`` (and ``ann_file``, ``data_root``) of :class:`UnlabeledDataset`: another
              folder, without a pool unless ``pool`` is given too, then both.
        split: Config of the split that decides which images keep their masks, e.g.
            ``dict(type='RatioSplit', ratio=1/8, seed=0)``; ``None`` keeps all masks.
        sources: Configs of further sources by name, for methods that need them. With
            ``pool='labeled'`` a source draws the labelled images of the split once more, by its own
            ``pipeline``, e.g. ``dict(gt=dict(pool='labeled', pipeline=[...]))``; any other config is
            that of a data set of its own, which the split does not touch.
        max_unreadable: How many unreadable samples (missing or broken file, illegal mask) each
            loader worker may replace by another sample of the same source, with a warning that
            names the file. 0 stops at the first one.

    Raises:
        ValueError: A source has no image, or the split does not fit the data set.
    """

    def __init__(
        self,
        labeled: dict,
        unlabeled: dict | None = None,
        split: dict | None = None,
        sources: dict[str, dict] | None = None,
        max_unreadable: int = 0,
    ) -> None:
        self.max_unreadable = max_unreadable
        self._unreadable: set[str] = set()
        self._labeled_index: dict[str, int] | None = None
        self._split_info: dict[str, str | int] | None = None
        labeled_set = build_dataset("labelled", labeled)
        self._metainfo = labeled_set.metainfo
        paths = [labeled_set.get_data_info(i)["img_path"] for i in range(len(labeled_set))]
        ids = relative_ids(paths)
        order = sorted(range(len(ids)), key=ids.__getitem__)
        index_of = {name: i for i, name in enumerate(ids)}
        if len(index_of) < len(ids):
            twice = next(name for i, name in enumerate(ids) if index_of[name] != i)
            raise ValueError(
                f"the labelled data set {where(labeled)} lists '{twice}' twice: remove one of them"
            )
        self.labeled_ids, self.unlabeled_ids = self._split(
            split, [ids[i] for i in order], common_folder(paths)
        )

        # name -> (dataset, index in that dataset of each of the source's samples)
        self._sources: dict[str, tuple[BaseDataset, list[int]]] = {
            "labeled": (labeled_set, [index_of[name] for name in self.labeled_ids])
        }
        if unlabeled is not None:
            if "pipeline" not in unlabeled:
                unlabeled = {**unlabeled, "pipeline": weak_pipeline(labeled)}
            dataset = self._build_unlabeled(unlabeled, [paths[i] for i in order], paths, index_of)
            self._sources["unlabeled"] = (dataset, list(range(len(dataset or ()))))
            self._refuse_masks(labeled_set)
        for name, config in (sources or {}).items():
            if name in ("labeled", "unlabeled"):
                raise ValueError(
                    f"train_dataloader.dataset.sources.{name}: '{name}' is a source of its own, "
                    f"write its settings into train_dataloader.dataset.{name}"
                )
            if "pool" in config:
                dataset = build_pooled(name, config, labeled_set)
                self._sources[name] = (dataset, self._sources["labeled"][1])
            else:
                dataset = build_dataset(name, config)
                self._sources[name] = (dataset, list(range(len(dataset))))
        for dataset, _ in self._sources.values():
            if dataset is not None:
                insert_mask_checks(dataset)

        self.source_ranges: dict[str, range] = {}
        start = 0
        for name, (_, indices) in self._sources.items():
            self.source_ranges[name] = range(start, start + len(indices))
            start += len(indices)
        counts = ", ".join(f"{len(span)} {name}" for name, span in self.source_ranges.items())
        print_log(
            f"SemiDataset: {counts}; split {self._split_name}, "
            f"labelled ids sha256 {ids_sha256(self.labeled_ids)[:16]}",
            "current",
        )

    def _split(self, config: dict | None, ids: list[str], folder: str) -> LabeledUnlabeled:
        self._split_name = "none (all masks)"
        if config is None:
            return ids, []
        split = TASK_UTILS.build(config)
        if isinstance(split, PublishedSplit):
            split.image_folder = folder
        options = {key: value for key, value in config.items() if key != "type"}
        options = ", ".join(f"{key}={value!r}" for key, value in options.items())
        self._split_name = getattr(split, "name", None) or f"{type(split).__name__}({options})"
        labeled, unlabeled = split(ids)
        check_split(labeled, unlabeled, self._split_name, getattr(split, "allow_overlap", False))
        return labeled, unlabeled

    @property
    def split_info(self) -> dict[str, str | int]:
        """Name, counts and hashes of what is trained on; every checkpoint's meta holds it.

        ``unlabeled`` are the images of that source, which is the unlabelled part of the split unless
        the config chose another pool or folder.
        """
        if self._split_info is None:
            info: dict[str, str | int] = dict(name=self._split_name)
            for source in ("labeled", "unlabeled"):
                paths = self.img_paths(source) if source in self.source_ranges else []
                info[source] = len(paths)
                info[f"{source}_sha256"] = ids_sha256(paths)
            self._split_info = info
        return dict(self._split_info)

    def _build_unlabeled(
        self, config: dict, all_paths: list[str], paths: list[str], index_of: dict[str, int]
    ) -> BaseDataset | None:
        config = copy.deepcopy(dict(config))
        has_folder = config.get("img_dir") is not None
        pool = config.pop("pool", None if has_folder else "rest")
        if pool not in ("rest", "all", None):
            raise ValueError(f"unlabeled.pool must be 'rest', 'all' or None, got {pool!r}")
        pooled = {
            "rest": [paths[index_of[name]] for name in self.unlabeled_ids],
            "all": all_paths,
            None: [],
        }[pool]
        if not has_folder and not pooled:
            # Legal for the baseline with all masks; the sampler refuses to draw from it.
            return None
        config.setdefault("type", "UnlabeledDataset")
        config.setdefault(
            "metainfo",
            {key: self._metainfo[key] for key in ("classes", "palette") if key in self._metainfo},
        )
        if has_folder and pooled:
            folder = DATASETS.build({**config, "lazy_init": True})
            pooled = sorted({*pooled, *(info["img_path"] for info in folder.load_data_list())})
        if pooled:
            for key in ("img_dir", "ann_file", "data_root"):
                config.pop(key, None)
            config["img_paths"] = pooled
        return build_dataset("unlabelled", config)

    def _refuse_masks(self, labeled_set: BaseDataset) -> None:
        """A folder one level too high holds the masks too, which are no training images."""
        dataset, indices = self._sources["unlabeled"]
        infos = (labeled_set.get_data_info(index) for index in range(len(labeled_set)))
        masks = resolve_files(info["seg_map_path"] for info in infos if "seg_map_path" in info)
        real_masks = set(masks.values()) - {None}
        images = resolve_files(dataset.get_data_info(index)["img_path"] for index in indices)
        for path, real in images.items():
            if real in real_masks:
                raise ValueError(
                    f"the unlabelled images include '{path}', a mask of the labelled data set: "
                    "point unlabeled.img_dir at a folder that holds images only"
                )

    @property
    def metainfo(self) -> dict:
        """Classes and palette, those of the labelled source."""
        return copy.deepcopy(self._metainfo)

    def full_init(self) -> None:
        """Everything is loaded by the constructor; the runner calls this on every dataset."""

    def __len__(self) -> int:
        return sum(len(span) for span in self.source_ranges.values())

    def locate(self, index: int) -> tuple[str, BaseDataset, int]:
        """Source name, its dataset, and the index in that dataset, of a global index."""
        for name, span in self.source_ranges.items():
            if index in span:
                dataset, indices = self._sources[name]
                local = indices[index - span.start]
                while hasattr(dataset, "datasets"):  # a ConcatDataset has no pipeline
                    part, local = dataset._get_ori_dataset_idx(local)
                    dataset = dataset.datasets[part]
                return name, dataset, local
        raise IndexError(f"index {index} is out of range, the dataset has {len(self)} samples")

    def get_data_info(self, index: int) -> dict:
        """Paths and settings of one sample, without loading it."""
        _, dataset, local = self.locate(index)
        return dataset.get_data_info(local)

    def labeled_info(self, img_path: str) -> dict | None:
        """Paths of an image of the labelled data set, also where the split left it unlabelled."""
        dataset, _ = self._sources["labeled"]
        if self._labeled_index is None:
            infos = (dataset.get_data_info(i) for i in range(len(dataset)))
            self._labeled_index = {info["img_path"]: i for i, info in enumerate(infos)}
        index = self._labeled_index.get(img_path)
        return None if index is None else dataset.get_data_info(index)

    def hidden_masks(self) -> list[str]:
        """Masks of the labelled data set whose images the split leaves unlabelled."""
        dataset, labeled = self._sources["labeled"]
        labeled = set(labeled)
        infos = (dataset.get_data_info(i) for i in range(len(dataset)) if i not in labeled)
        return [info["seg_map_path"] for info in infos if info.get("seg_map_path")]

    def pipeline(self, source: str) -> Compose:
        """The transforms of a source."""
        return self._sources[source][0].pipeline

    def img_paths(self, source: str) -> list[str]:
        """All image paths of a source."""
        return [self.get_data_info(index)["img_path"] for index in self.source_ranges[source]]

    def __getitem__(self, item: Draw | int) -> dict:
        """Load one sample; a :class:`Draw` fixes everything random about it.

        Returns:
            ``{'inputs': (C, H, W) uint8, 'data_samples': SegDataSample}``; the sample's metainfo
            names its ``source`` and, for a draw, its ``draw_seed``.
        """
        if not isinstance(item, Draw):
            return self._load(item, seed=None)
        with seeded(item.seed):
            return self._load(item.index, item.seed)

    def _load(self, index: int, seed: int | None) -> dict:
        for _ in range(_MAX_REDRAWS):
            name, dataset, local = self.locate(index)
            info = dataset.get_data_info(local)
            try:
                sample = dataset.pipeline(info)
                if sample is None:
                    raise ValueError("its pipeline returned nothing")
                meta = dict(source=name) if seed is None else dict(source=name, draw_seed=seed)
                sample["data_samples"].set_metainfo(meta)
                return sample
            except Exception as error:
                self._report_unreadable(name, info["img_path"], error)
                span = self.source_ranges[name]
                # A pure function of the draw, like everything else about the sample.
                index = span[int(np.random.randint(len(span)))]
        raise ValueError(
            f"{_MAX_REDRAWS} {name} images in a row cannot be used, the last one is "
            f"'{info['img_path']}': repair the files, or take the broken ones out of the list"
        )

    def _report_unreadable(self, source: str, path: str, error: Exception) -> None:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        message = f"{source} image '{path}' cannot be used: {reason}"
        self._unreadable.add(path)
        if len(self._unreadable) <= self.max_unreadable:
            warnings.warn(f"{message} (replaced by another {source} image)", stacklevel=2)
            return
        if not osp.exists(path):
            message = f"{source} image '{path}' does not exist"
        hint = (
            f"{len(self._unreadable)} unreadable samples in one loader worker, "
            f"train_dataloader.dataset.max_unreadable allows {self.max_unreadable}"
            if self.max_unreadable
            else "repair or remove it, or set train_dataloader.dataset.max_unreadable to skip a few"
        )
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"{message} ({hint})") from error
