# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Images and masks of any names, folders and codes, as ``mmsemi init`` lists them."""

from __future__ import annotations

import io
import os.path as osp
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import fileio
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS
from PIL import Image

from ..errors import ConfigError, DataError
from ..visualization.palette import class_palette
from .label_table import Code, LabelTable
from .pipelines import replace_mask_loaders, walk_transforms
from .transforms import LoadCheckedAnnotations


class LoadCodedMask(LoadCheckedAnnotations):
    """The checked loader for masks whose values or colours a table makes class indices.

    Attributes:
        table: The table.
    """

    table: LabelTable

    def _decode(self, path: str, backend: str | None = None) -> np.ndarray:
        if not self.table.is_colour:
            stored = super()._decode(path, backend).squeeze()
            # A colour picture is refused by the caller.
            return self.table.apply(stored, f"mask '{path}'") if stored.ndim == 2 else stored
        try:
            data = fileio.get(path, backend_args=self.backend_args)
            with Image.open(io.BytesIO(data)) as picture:
                colours_HW3 = np.asarray(picture.convert("RGB"))
        except Exception as error:  # decoders raise many types for broken data
            raise DataError(f"mask '{path}' cannot be decoded: {error}") from error
        return self.table.apply(colours_HW3, f"mask '{path}'")

    def _load_seg_map(self, results: dict) -> None:
        results["label_map"] = None  # it is for loaders that know no table
        super()._load_seg_map(results)


class LoadOtherMask(LoadAnnotations):
    """A loader of masks of colours or 16 bits, which the checks of files must not take for indices.

    Args:
        loader: Loads and checks them.
    """

    def __init__(self, loader: LoadCodedMask) -> None:
        vars(self).update(vars(loader))
        self.loader = loader

    def _load_seg_map(self, results: dict) -> None:
        self.loader._load_seg_map(results)


@DATASETS.register_module()
class PairListDataset(BaseSegDataset):
    """Pairs of an image and a mask that a list file names, one pair a line, with a tab between.

    Names, suffixes and folders may be any. Without a palette in ``metainfo`` the classes get colours that
    are told apart with colour-blind eyes, too.

    Args:
        ann_file: The list. Paths in it are relative to ``data_root``, or to the current folder.
        label_table: How the masks store each class, if not as its index: name -> a value (0 to 65535), a
            colour ``'#rrggbb'``, a list of some, or ``'*'``, every value that no other class has. Any value
            that is not listed is refused when a mask has it.
        void: Further values or colours, of pixels without a label.
        data_root: Root of the list and of the paths in it.
        metainfo: Must have ``classes``.
        kwargs: Of :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        DataError: There is no list, or a line of it names no pair.
        ConfigError: There are no classes, or the table does not fit them.
    """

    def __init__(
        self,
        ann_file: str,
        label_table: Mapping[str, Code | Sequence[Code]] | None = None,
        void: Sequence[Code] = (),
        data_root: str | None = None,
        metainfo: Mapping[str, Any] | None = None,
        lazy_init: bool = False,
        **kwargs,
    ) -> None:
        metainfo = dict(metainfo or {})
        classes = metainfo.get("classes") or ()
        if not classes:
            raise ConfigError("PairListDataset needs metainfo=dict(classes=(...))")
        if void and not label_table:
            raise ConfigError(f"PairListDataset: void={void} is for a label_table, give one")
        metainfo.setdefault("palette", class_palette(classes))
        for key in ("data_prefix", "img_suffix", "seg_map_suffix", "reduce_zero_label"):
            if kwargs.get(key):
                raise ConfigError(f"PairListDataset takes no {key}: its list names both files")
        super().__init__(
            ann_file=ann_file,
            img_suffix="",
            seg_map_suffix="",
            metainfo=metainfo,
            data_root=data_root,
            lazy_init=True,
            **kwargs,
        )
        if label_table:
            table = LabelTable(label_table, classes, void, self.ignore_index)
            self.label_map = table.map_of_values()
            self._insert_table(table)
        if not lazy_init:
            self.full_init()

    def _insert_table(self, table: LabelTable) -> None:
        steps = self.pipeline.transforms
        replace_mask_loaders(steps, LoadCodedMask, len(self.metainfo["classes"]), self.ignore_index)
        for loader in walk_transforms(steps):
            if isinstance(loader, LoadCodedMask):
                loader.table = table
        if self.label_map is None:
            _hide(steps)

    def _join_prefix(self) -> None:
        self.ann_file = osp.join(self.data_root, self.ann_file)

    def load_data_list(self) -> list[dict]:
        """The pairs in the order of the list."""
        path = Path(self.ann_file)
        if not path.is_file():
            raise DataError(f"list file '{path}' does not exist (searched from '{Path.cwd()}')")
        infos = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            names = line.rstrip().split("\t")
            if len(names) != 2 or not all(names):
                raise DataError(
                    f"list file '{path}', line {number}: expected an image, a tab and its mask, got {line!r}"
                )
            image, mask = (osp.join(self.data_root or "", name) for name in names)
            infos.append(
                dict(
                    img_path=image,
                    seg_map_path=mask,
                    label_map=self.label_map,
                    reduce_zero_label=False,
                    seg_fields=[],
                )
            )
        if not infos:
            raise DataError(f"list file '{path}' is empty")
        return infos


def _hide(steps: list) -> None:
    """Wrap each loader of coded masks, at any depth, in place."""
    for position, step in enumerate(steps):
        nested = step if isinstance(step, list) else getattr(step, "transforms", None)
        if isinstance(step, LoadCodedMask):
            steps[position] = LoadOtherMask(step)
        elif nested is not None:
            _hide(getattr(nested, "transforms", nested))
