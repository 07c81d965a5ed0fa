# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the rules judge: the sources, and what is known of their files so far."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine import fileio
from mmseg.datasets import BaseSegDataset

from ..files import resolve_files
from ..sources import Item, Part, Source
from ..splits import parse_id_list
from .scan import Facts, ImageFacts, MaskFacts

# What is known of files: ('image' or 'mask', path) -> facts.
Found = Mapping[tuple[str, str], Facts]


class MaskCount(NamedTuple):
    """One index mask: its path, pixels without a label, all pixels, value that is no class -> pixels."""

    path: str
    void: int
    total: int
    outside: dict[int, int]


@dataclass
class Statistics:
    """Numbers about one source.

    Attributes:
        images: Readable images.
        masks: Readable index masks, counted one by one.
        sizes: (width, height) of the images -> how many.
        modes: Pixel format of the images -> how many.
        mask_modes: Pixel format of the masks -> how many.
        pixels: (K,) labelled pixels of each class.
        occurs: (K,) masks that have each class.
        void: Pixels without a label.
        outside: Value that is no class -> pixels.
        stored_zero: Whether a mask stores the value 0.
    """

    images: int = 0
    masks: list[MaskCount] = field(default_factory=list)
    sizes: Counter = field(default_factory=Counter)
    modes: Counter = field(default_factory=Counter)
    mask_modes: Counter = field(default_factory=Counter)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    occurs: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    void: int = 0
    outside: Counter = field(default_factory=Counter)
    stored_zero: bool = False

    @property
    def void_share(self) -> float:
        """Share of mask pixels without a label."""
        total = self.void + int(self.pixels.sum()) + sum(self.outside.values())
        return self.void / total if total else 0.0


def class_histogram(
    mask: MaskFacts, table: np.ndarray, num_classes: int, ignore_index: int
) -> tuple[np.ndarray, int, dict[int, int]]:
    """Pixels of each class (K,), pixels without a label, and pixels of values that are no class.

    Args:
        mask: Facts of an index mask.
        table: (256,) what each stored value becomes when it is loaded.
        num_classes: K.
        ignore_index: Value of pixels without a label.
    """
    pixels, void, outside = np.zeros(num_classes, np.int64), 0, {}
    for stored, count in mask.histogram.items():
        value = int(table[stored]) if 0 <= stored < 256 else stored
        if value == ignore_index:
            void += count
        elif 0 <= value < num_classes:
            pixels[value] += count
        else:
            outside[stored] = outside.get(stored, 0) + count
    return pixels, void, outside


def is_expanded(mask: MaskFacts, part: Part) -> bool:
    """Whether the loader turns the indices of a palette mask into colours."""
    return mask.mode.startswith("P") and part.mask_backend == "cv2"


class ListFile:
    """A list file as bytes and as lines.

    Args:
        path: The file.
        part: The data set that reads it; None for the list of a split.

    Attributes:
        problem: Why it cannot be read, '' if it can.
        data: Its bytes.
        text: Its text; None if it is none.
        lines: Number of each line that names something, and the name as its reader takes it.
        blank: Numbers of the others.
        is_stock: Its reader takes a whole line as one name, as mmseg's does.
    """

    def __init__(self, path: str, part: Part | None) -> None:
        self.path, self.part, self.problem, self.data = path, part, "", b""
        self.text: str | None = None
        try:
            self.data = Path(path).read_bytes()
            self.text = self.data.decode("utf-8")
        except OSError as error:
            self.problem = error.strerror or type(error).__name__
        except UnicodeDecodeError:
            pass
        load = getattr(type(part.dataset), "load_data_list", None) if part else None
        self.is_stock = load is BaseSegDataset.load_data_list
        text = (self.text or "").removeprefix("\ufeff")
        lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
        self.blank = [number for number, line in lines if not line]
        self.lines = [one for one in lines if one[1]] if self.is_stock else parse_id_list(text)


@dataclass
class Survey:
    """All that rules may look at.

    Attributes:
        sources: Those with a sample.
        found: What is in the files that were read; none, or few, at the start of a training.
        contents: Image -> hash of its bytes, for those that were read.
        hidden_masks: Masks whose images the split leaves unlabelled.
        split: Config of the split.
        num_classes: Of the model, None if it is not known.
        classes_setting: Where a config sets it.
        void: Settings of the model and of metrics that hold the value of pixels without a label.
    """

    sources: Sequence[Source]
    found: Found = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    hidden_masks: Sequence[str] = ()
    split: Mapping = field(default_factory=dict)
    num_classes: int | None = None
    classes_setting: str = "model.decode_head.num_classes"
    void: Sequence[tuple[str, int]] = ()

    def __post_init__(self) -> None:
        self.sources = [source for source in self.sources if len(source)]

    @cached_property
    def parts(self) -> list[tuple[str, Part]]:
        """Name of the source and plain data set, each with different files once."""
        shown, parts = set(), []
        for source in self.sources:
            for part in source.parts:
                key = part.img_dir, part.mask_dir, part.list_file, part.img_suffix, part.mask_suffix
                if key not in shown or not part.img_dir:
                    shown.add(key)
                    parts.append((source.name, part))
        return parts

    @cached_property
    def masks(self) -> list[str]:
        """Every mask of a local data set, opened or not."""
        return [mask for _, part in self.parts if part.is_local for _, mask in part.files if mask]

    @cached_property
    def _resolved(self) -> dict[str, str | None]:
        items = (item for source in self.sources for item in source.items if item.part.is_local)
        paths = (path for item in items for path in (item.img_path, item.mask_path) if path)
        return resolve_files((*paths, *self.masks))

    def real_path(self, path: str) -> str:
        """A file behind links; a missing file, or one of another storage, is its own."""
        return self._resolved.get(path) or path

    def is_missing(self, kind: str, path: str) -> bool:
        """Whether a file does not exist, as far as that is known.

        Args:
            kind: 'image' or 'mask'.
            path: The file.
        """
        facts = self.found.get((kind, path))
        if facts is not None:
            return facts.problem == "missing"
        return path in self._resolved and self._resolved[path] is None

    def images(self, source: Source) -> Iterator[tuple[Item, ImageFacts]]:
        """The samples whose image was read."""
        for item in source.items:
            facts = self.found.get(("image", item.img_path))
            if isinstance(facts, ImageFacts) and not facts.problem:
                yield item, facts

    def read_masks(self, source: Source) -> Iterator[tuple[Item, MaskFacts]]:
        """The samples whose mask was read."""
        for item in source.items:
            facts = self.found.get(("mask", item.mask_path))
            if isinstance(facts, MaskFacts) and not facts.problem:
                yield item, facts

    @cached_property
    def stats(self) -> dict[str, Statistics]:
        """Numbers about each source, from the files that were read."""
        return {source.name: self._count(source) for source in self.sources}

    def _count(self, source: Source) -> Statistics:
        stats, classes = Statistics(), len(source.classes)
        for _, image in self.images(source):
            stats.images += 1
            stats.sizes[image.size_wh] += 1
            stats.modes[image.mode] += 1
        stats.pixels, stats.occurs = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
        for item, mask in self.read_masks(source) if classes else ():
            if mask.is_colour or is_expanded(mask, item.part):
                continue
            pixels, void, outside = class_histogram(
                mask, item.part.label_table, classes, source.ignore_index
            )
            total = int(pixels.sum()) + void + sum(outside.values())
            stats.masks.append(MaskCount(mask.path, void, total, outside))
            stats.mask_modes[mask.mode] += 1
            stats.stored_zero |= 0 in mask.histogram
            stats.pixels += pixels
            stats.occurs += pixels > 0
            stats.void += void
            stats.outside.update(outside)
        return stats

    @cached_property
    def files(self) -> dict[str, dict[str, str]]:
        """Of each source: path behind links -> image."""
        return {s.name: {self.real_path(path): path for path in s.img_paths} for s in self.sources}

    @cached_property
    def copies(self) -> dict[str, dict[str, list[str]]]:
        """Of each source: hash -> images, where links to one file count once."""
        copies: dict[str, dict[str, list[str]]] = {}
        for name, files in self.files.items():
            copies[name] = defaultdict(list)
            for path in files.values():
                if path in self.contents:
                    copies[name][self.contents[path]].append(path)
        return copies

    @cached_property
    def lists(self) -> list[ListFile]:
        """The list files of the split and of all data sets."""
        own = [self.split[key] for key in ("labeled", "unlabeled") if self.split.get(key)]
        read = {part.list_file: part for _, part in self.parts if part.is_local}
        return [ListFile(path, read.get(path)) for path in dict.fromkeys([*own, *read]) if path]

    @cached_property
    def folders(self) -> list[tuple[str, Part, list[str], list[str]]]:
        """Name, data set, files of the image folder and of the mask folder, of sets without a list.

        (With a list, other files in the folder are the rule, as in PASCAL VOC.)
        """
        return [
            (name, part, *(list_folder(folder, part) for folder in (part.img_dir, part.mask_dir)))
            for name, part in self.parts
            if part.img_dir and part.mask_dir and not part.list_file
        ]


def list_folder(folder: str, part: Part) -> list[str]:
    """All files below a folder, as sorted names relative to it."""
    storage = dict(backend_args=part.backend_args)
    if not fileio.isdir(folder, **storage):
        return []
    return sorted(fileio.list_dir_or_file(folder, list_dir=False, recursive=True, **storage))
