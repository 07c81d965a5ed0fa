# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Images without masks."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence

from mmengine import fileio
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..errors import ConfigError, DataError
from .files import IMAGE_SUFFIXES
from .pipelines import refuse_mask_loaders
from .splits import match_ids, read_id_list


@DATASETS.register_module()
class UnlabeledDataset(BaseSegDataset):
    """Images of any sizes from a folder, a list, or given paths. No mask is ever opened.

    Args:
        img_dir: Folder that is searched for images, with sub-folders; or several. Relative to
            ``data_root`` if that is given.
        ann_file: List file with one image a line, with or without folders and suffix; the default is
            every image of the folders.
        img_paths: Image paths, instead of a folder.
        data_root: Common root of ``img_dir`` and ``ann_file``.
        metainfo: Classes and palette; a :class:`SemiDataset` passes those of the labelled set.
        pipeline: Transforms. Must not load annotations.

    Raises:
        DataError: The folder, the list file or a listed image does not exist, or there is no image.
        ConfigError: The pipeline loads annotations, or it is not said where the images are.
    """

    def __init__(
        self,
        img_dir: str | Sequence[str] | None = None,
        ann_file: str = "",
        img_paths: Sequence[str] | None = None,
        data_root: str | None = None,
        metainfo: dict | None = None,
        pipeline: Sequence = (),
        **kwargs,
    ) -> None:
        if (img_dir is None) == (img_paths is None):
            raise ConfigError("UnlabeledDataset needs either img_dir or img_paths")
        self._img_paths = None if img_paths is None else list(img_paths)
        several = isinstance(img_dir, (list, tuple))
        self._folders = list(img_dir) if several else [] if img_dir is None else [img_dir]
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=dict(img_path=None if several else img_dir),
            metainfo=metainfo,
            pipeline=list(pipeline),
            **kwargs,
        )
        refuse_mask_loaders(self)

    def _join_prefix(self) -> None:
        # The stock method refuses a missing img_path, which is legal here (img_paths).
        if self.ann_file:
            self.ann_file = fileio.join_path(self.data_root, self.ann_file)
        self._folders = [fileio.join_path(self.data_root, folder) for folder in self._folders]
        if self.data_prefix["img_path"] is not None:
            (self.data_prefix["img_path"],) = self._folders

    def load_data_list(self) -> list[dict]:
        """Collect the image paths, sorted, so that the order never depends on the file system."""
        paths = self._img_paths
        if paths is None:
            several, files = len(self._folders) > 1, {}
            for folder in self._folders:
                for name in self._find_images(folder):
                    path = osp.join(folder, name)
                    files[path if several else name] = path
            names = list(files)
            if self.ann_file:
                folders = ", ".join(f"'{folder}'" for folder in self._folders)
                where = f"list file '{self.ann_file}' (for images under {folders})"
                names = match_ids(read_id_list(self.ann_file), names, where)
            paths = [files[name] for name in names]
        return [
            dict(img_path=path, label_map=None, reduce_zero_label=False, seg_fields=[])
            for path in sorted(set(paths))
        ]

    @staticmethod
    def _find_images(folder: str) -> list[str]:
        if not fileio.isdir(folder):
            raise DataError(
                f"the folder of unlabelled images '{folder}' does not exist "
                f"(searched from '{osp.abspath(osp.curdir)}')"
            )
        files = fileio.list_dir_or_file(folder, list_dir=False, recursive=True)
        images = [name for name in files if name.lower().endswith(IMAGE_SUFFIXES)]
        if not images:
            raise DataError(
                f"the folder of unlabelled images '{folder}' holds no image "
                f"({', '.join(IMAGE_SUFFIXES)})"
            )
        return images
