# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One named source of images: which data set lists them, and which of its samples belong to it."""

from __future__ import annotations

import copy
import os.path as osp
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from mmcv.transforms import LoadAnnotations as MaskLoader
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import BaseDataset
from mmseg.datasets.transforms import LoadAnnotations, RandomCrop
from torch.utils.data import ConcatDataset, Dataset

from ..errors import ConfigError
from .pipelines import walk_transforms
from .transforms import LoadCheckedAnnotations


def wrapped(dataset: Dataset) -> Dataset | None:
    """The data set inside a wrapper of one, such as ``RepeatDataset``; None for other ones."""
    inner = getattr(dataset, "dataset", None)
    return inner if hasattr(inner, "__getitem__") and hasattr(inner, "__len__") else None


def unwrap(dataset: Dataset) -> Dataset:
    """The data set inside stock wrappers of one."""
    while wrapped(dataset) is not None:
        dataset = dataset.dataset
    return dataset


def leaves(dataset: Dataset) -> Iterator[BaseDataset]:
    """The plain data sets inside stock wrappers (``RepeatDataset``, ``ConcatDataset``, ...)."""
    dataset = unwrap(dataset)
    if not hasattr(dataset, "datasets"):
        yield dataset
        return
    for part in dataset.datasets:
        yield from leaves(part)


def locate(dataset: Dataset, index: int) -> tuple[BaseDataset, int]:
    """The plain data set, and the index in it, of a sample of stock wrappers."""
    while True:
        if hasattr(dataset, "datasets"):
            part = bisect_right(dataset.cumulative_sizes, index)
            index -= dataset.cumulative_sizes[part - 1] if part else 0
            dataset = dataset.datasets[part]
        elif wrapped(dataset) is not None:
            # A MultiImageMixDataset has no such method, and the numbering of what is inside.
            index = getattr(dataset, "_get_ori_dataset_idx", int)(index)
            dataset = dataset.dataset
        else:
            return dataset, index


def mixes_images(dataset: Dataset) -> bool:
    """Whether a wrapper inside draws further images for a sample, as ``MultiImageMixDataset`` does."""
    inner = wrapped(dataset)
    parts = getattr(dataset, "datasets", [] if inner is None else [inner])
    steps = getattr(dataset, "pipeline", ())
    own = isinstance(steps, list) and any(hasattr(step, "get_indices") for step in steps)
    return bool(parts) and (own or any(map(mixes_images, parts)))


def restricted(dataset: Dataset, indices: Mapping[int, Collection[int]]) -> Dataset:
    """A copy of stock wrappers around some samples of their plain data sets.

    Args:
        dataset: Plain data sets in ``ConcatDataset``, ``RepeatDataset``, ``MultiImageMixDataset``.
        indices: Of the samples, by the id of their data set.

    Raises:
        ConfigError: Another wrapper is among them.
    """
    changed = copy.copy(dataset)
    if hasattr(dataset, "datasets"):
        parts = [part for part in dataset.datasets if any(id(x) in indices for x in leaves(part))]
        changed.datasets = [restricted(part, indices) for part in parts]
        changed.cumulative_sizes = changed.cumsum(changed.datasets)
        return changed
    inner = wrapped(dataset)
    if inner is None:
        # Not get_subset, whose deep copies share one memo for the whole process.
        changed.get_subset_(sorted(indices[id(dataset)]))
        return changed
    if hasattr(dataset, "repeat_indices"):
        raise ConfigError(
            f"{type(dataset).__name__} around images that are mixed cannot be split: put it inside, or "
            "set train_dataloader.dataset.split=None"
        )
    changed.dataset = restricted(inner, indices)
    changed._ori_len = changed.num_samples = len(changed.dataset)
    return changed


class Part:
    """A plain data set inside a source: where its files are, and how they are read.

    Attributes:
        dataset: The data set.
        img_dir: Folder of the images, '' for given paths.
        mask_dir: Folder of the masks, '' without masks.
        img_suffix: Suffix of the images.
        mask_suffix: Suffix of the masks.
        list_file: The list file, '' for every image of the folder.
        backend_args: Settings of the file storage.
        is_local: Its files are ordinary ones, which can be looked up cheaply.
        opens_masks: The pipeline loads masks.
        has_plain_images: Images are ordinary picture files, by the pipeline's loader.
        has_plain_masks: Masks are ordinary picture files of indices, by the pipeline's loader.
        mask_backend: How masks are decoded.
        color_type: How images are decoded, by the pipeline's loader; ``'unchanged'`` keeps bit depth,
            transparency and orientation.
        crop_hw: The crop, where no transform before it brings images to a fixed size.
    """

    def __init__(self, dataset: BaseDataset) -> None:
        self.dataset = dataset
        prefix = getattr(dataset, "data_prefix", None) or {}
        self.img_dir = prefix.get("img_path") or ""
        self.mask_dir = prefix.get("seg_map_path") or ""
        self.img_suffix = getattr(dataset, "img_suffix", "")
        self.mask_suffix = getattr(dataset, "seg_map_suffix", "")
        list_file = getattr(dataset, "ann_file", "") or ""
        self.list_file = "" if osp.isdir(list_file) else list_file
        self.backend_args = getattr(dataset, "backend_args", None)
        backend = (self.backend_args or {}).get("backend", "local")
        self.is_local = backend in ("local", "disk") and "://" not in self.img_dir + list_file

        steps = list(walk_transforms(getattr(dataset, "pipeline", None)))
        names = [type(step).__name__ for step in steps]
        masks = next((step for step in steps if isinstance(step, MaskLoader)), None)
        if masks is None:
            masks = next((step for step in steps if "Annotation" in type(step).__name__), None)
        self.opens_masks = masks is not None
        self.has_plain_masks = isinstance(masks, LoadCheckedAnnotations) or (
            type(masks) is LoadAnnotations
        )
        self.mask_backend = getattr(masks, "imdecode_backend", "pillow")
        others = [name for name in names if name.startswith("Load") and "Image" in name]
        self.has_plain_images = "LoadImageFromFile" in others or not others
        loader = next((step for step in steps if isinstance(step, LoadImageFromFile)), None)
        self.color_type = getattr(loader, "color_type", "color")
        self.crop_hw = _find_crop(steps)

    @cached_property
    def files(self) -> list[tuple[str, str]]:
        """Image and mask path of every sample; '' where there is none."""
        infos = map(self.dataset.get_data_info, range(len(self.dataset)))
        return [(info.get("img_path", ""), info.get("seg_map_path") or "") for info in infos]

    @cached_property
    def label_table(self) -> np.ndarray:
        """(256,) uint8, what a stored value becomes when it is loaded."""
        table = np.arange(256, dtype=np.uint8)
        # As the loader does it: first the shift, then the map of chosen classes.
        if getattr(self.dataset, "reduce_zero_label", False):
            table = table - 1
            table[table == 254] = 255
        mapped = np.arange(256, dtype=np.uint8)
        for old, new in (getattr(self.dataset, "label_map", None) or {}).items():
            mapped[old] = new
        return mapped[table]


def _find_crop(steps: Sequence[object]) -> tuple[int, int] | None:
    for step in steps:
        name = type(step).__name__
        if "Resize" in name and getattr(step, "scale", None):
            return None
        if name in ("RandomChoiceResize", "ResizeShortestEdge", "RandomCoveringResize"):
            return None
        if isinstance(step, RandomCrop):
            size = step.crop_size
            return (size, size) if isinstance(size, int) else tuple(size)
    return None


class Item(NamedTuple):
    """One sample of a source.

    Attributes:
        img_path: The image.
        mask_path: Its mask; '' if it has none or must not be opened.
        part: The data set that lists it.
    """

    img_path: str
    mask_path: str
    part: Part


@dataclass(eq=False)
class Source:
    """All samples of one name.

    Attributes:
        name: 'labeled', 'unlabeled', the name of a further source; 'train', 'val' or 'test' for a
            stock data set.
        dataset: The data set that lists them, possibly in stock wrappers; None if there is none.
        indices: Its samples, in the order of the source.
        pool: Of the unlabelled source: 'rest', 'all' or None; 'labeled' for a source that draws the
            labelled images once more.
        role: 'train', 'val' or 'test'.
        opens_masks: Whether the masks that the data set lists may be opened.
        parts: The plain data sets inside ``dataset``.
    """

    name: str
    dataset: Dataset | None
    indices: Sequence[int]
    pool: str | None = None
    role: str = "train"
    opens_masks: bool = True
    parts: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.parts and self.dataset is not None:
            self.parts = [Part(leaf) for leaf in leaves(self.dataset)]

    @classmethod
    def of_stock(cls, role: str, dataset: Dataset) -> Source:
        """All samples of a stock data set, each once, whatever repeats it."""
        parts = ConcatDataset(list(leaves(dataset)))
        return cls(role, parts, range(len(parts)), role=role)

    def __len__(self) -> int:
        return len(self.indices)

    def locate(self, position: int) -> tuple[BaseDataset, int]:
        """The plain data set, and the index in it, of a sample."""
        return locate(self.dataset, self.indices[position])

    def load(self, position: int) -> dict | None:
        """A sample, by the data set itself, so that wrappers and overridden methods keep their meaning."""
        try:
            return self.dataset[self.indices[position]]
        except Exception as error:
            # What a stock data set, which may not draw another one, says of a pipeline without result.
            if "Cannot find valid image" in str(error):
                return None
            raise

    @cached_property
    def positions(self) -> dict[tuple[int, int], list[int]]:
        """Id of the plain data set and index in it -> the positions of that sample, in their order."""
        found: dict[tuple[int, int], list[int]] = {}
        for position in range(len(self)):
            leaf, index = self.locate(position)
            found.setdefault((id(leaf), index), []).append(position)
        return found

    @cached_property
    def items(self) -> list[Item]:
        """The samples, in the order of the source, each once, whatever repeats it."""
        parts = {id(part.dataset): part for part in self.parts}
        items = []
        for leaf, index in self.positions:
            part = parts[leaf]
            image, mask = part.files[index]
            items.append(Item(image, mask if self.opens_masks and part.opens_masks else "", part))
        return items

    @cached_property
    def img_paths(self) -> list[str]:
        """The images, in the order of the source."""
        return [item.img_path for item in self.items]

    @cached_property
    def masks(self) -> list[str]:
        """The masks that are opened."""
        return [item.mask_path for item in self.items if item.mask_path]

    def path(self, sample: tuple[int, int]) -> str:
        """The image of a sample, a key of :attr:`positions`."""
        leaf, index = sample
        return next(part.files[index][0] for part in self.parts if id(part.dataset) == leaf)

    @property
    def metainfo(self) -> dict:
        """Classes, palette and whatever else the data set says of itself."""
        return getattr(self.parts[0].dataset, "metainfo", {}) if self.parts else {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return tuple(self.metainfo.get("classes") or ())

    @property
    def palette(self) -> list[list[int]]:
        """A colour for each class."""
        return [list(colour) for colour in self.metainfo.get("palette") or ()]

    @property
    def ignore_index(self) -> int:
        """Value of pixels without a label."""
        return getattr(self.parts[0].dataset, "ignore_index", 255) if self.parts else 255

    @property
    def crop_hw(self) -> tuple[int, int] | None:
        """The training crop of images in their own size, None if there is none."""
        return self.parts[0].crop_hw if self.parts and self.role == "train" else None
