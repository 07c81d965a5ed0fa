# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Images with labels that a network, or any other tool, has stored in a folder."""

from __future__ import annotations

import os.path as osp
from collections.abc import Mapping, Sequence

from mmengine import fileio
from mmengine.dataset import Compose
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..errors import ConfigError, DataError
from .files import IMAGE_SUFFIXES
from .pipelines import replace_mask_loaders
from .splits import match_ids, read_id_list
from .transforms import LoadPseudoLabel


@DATASETS.register_module()
class PseudoLabelDataset(BaseSegDataset):
    """A plain mmseg data set over a folder of labels, made by ``mmsemi pseudo-label`` or any other tool.

    A label is an 8-bit PNG of the size of its image, with class indices and the ignored value where
    nothing is known. A confidence is a PNG of that size too: 8 or 16 bits, where the largest value of the
    type (255, 65535) is certainty. Label, confidence and image have the same path below their folders,
    without suffix. The images of the set are those that have a label.

    It works alone in any mmseg config, or as a source of a :class:`~mmsemi.datasets.SemiDataset`. Each
    ``LoadAnnotations`` of the pipeline also loads the confidence, which follows every change of geometry
    and leaves the pipeline with ``PackSemiInputs`` as the sample's ``gt_confidence``.

    Args:
        data_prefix: Folders: ``img_path``, ``seg_map_path`` and, for confidences, ``conf_map_path``.
        ann_file: List file with one image a line, which must have a label; the default is every label of
            the folder.
        img_suffix: Suffix of the images; None: any of the usual ones.
        seg_map_suffix: Suffix of the labels.
        conf_map_suffix: Suffix of the confidences.
        kwargs: Of :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        DataError: A folder or list does not exist, there is no label, or a label has no image, several,
            or no confidence where there is a folder of them.
    """

    def __init__(
        self,
        data_prefix: Mapping[str, str | None],
        ann_file: str = "",
        img_suffix: str | None = None,
        seg_map_suffix: str = ".png",
        conf_map_suffix: str = ".png",
        **kwargs,
    ) -> None:
        missing = {"img_path", "seg_map_path"} - {k for k, v in data_prefix.items() if v}
        if missing:
            raise ConfigError(
                f"PseudoLabelDataset.data_prefix={dict(data_prefix)} lacks {' and '.join(sorted(missing))}"
            )
        self.conf_map_suffix, self._any_suffix = conf_map_suffix, img_suffix is None
        super().__init__(
            ann_file=ann_file,
            data_prefix={k: v for k, v in data_prefix.items() if v},
            img_suffix=img_suffix or "",
            seg_map_suffix=seg_map_suffix,
            **kwargs,
        )
        if isinstance(self.pipeline, Compose):
            classes = self.metainfo.get("classes")
            replace_mask_loaders(
                self.pipeline.transforms,
                LoadPseudoLabel,
                len(classes) if classes else None,
                self.ignore_index,
            )

    def _join_prefix(self) -> None:
        # The stock method asks of the list file that it exists, and says nothing of folders.
        if self.ann_file and self.data_root and not osp.isabs(self.ann_file):
            self.ann_file = osp.join(self.data_root, self.ann_file)
        for key, folder in self.data_prefix.items():
            if self.data_root and not osp.isabs(folder):
                folder = fileio.join_path(self.data_root, folder)
            self.data_prefix[key] = folder

    def load_data_list(self) -> list[dict]:
        """Labels with their images, sorted, so that the order never depends on the file system."""
        labels = self._files("seg_map_path", (self.seg_map_suffix,))
        if not labels:
            raise DataError(
                f"the folder of pseudo-labels '{self.data_prefix['seg_map_path']}' holds no "
                f"{self.seg_map_suffix} file"
            )
        names = sorted(labels)
        if self.ann_file:
            where = f"list file '{self.ann_file}' (labels in '{self.data_prefix['seg_map_path']}')"
            names = sorted(set(match_ids(read_id_list(self.ann_file), names, where)))
        suffixes = IMAGE_SUFFIXES if self._any_suffix else (self.img_suffix,)
        images = self._files("img_path", suffixes, wanted=set(names))
        confidences = {}
        if "conf_map_path" in self.data_prefix:
            confidences = self._files("conf_map_path", (self.conf_map_suffix,))
        infos = []
        for name in names:
            info = dict(seg_map_path=self._only(labels, name, "label"))
            info["img_path"] = self._only(images, name, "image", info["seg_map_path"])
            if "conf_map_path" in self.data_prefix:
                info["conf_map_path"] = self._only(
                    confidences, name, "confidence", info["seg_map_path"]
                )
            infos.append(
                dict(
                    info,
                    label_map=self.label_map,
                    reduce_zero_label=self.reduce_zero_label,
                    seg_fields=[],
                )
            )
        return infos

    def _files(
        self, key: str, suffixes: Sequence[str], wanted: set[str] | None = None
    ) -> dict[str, list[str]]:
        """Files of a folder, by their path below it without the suffix."""
        folder, found = self.data_prefix[key], {}
        if not fileio.isdir(folder):
            raise DataError(
                f"PseudoLabelDataset.data_prefix.{key}: the folder '{folder}' does not exist "
                f"(searched from '{osp.abspath(osp.curdir)}')"
            )
        for path in fileio.list_dir_or_file(folder, list_dir=False, recursive=True):
            suffix = next((one for one in suffixes if path.lower().endswith(one.lower())), None)
            if suffix is None:
                continue
            name = path[: len(path) - len(suffix)].replace("\\", "/")
            if wanted is None or name in wanted:
                found.setdefault(name, []).append(osp.join(folder, path))
        return found

    def _only(self, files: dict[str, list[str]], name: str, what: str, label: str = "") -> str:
        paths = files.get(name, ())
        if len(paths) == 1:
            return paths[0]
        folder = self.data_prefix[
            dict(image="img_path", confidence="conf_map_path").get(what, "seg_map_path")
        ]
        if not paths:
            raise DataError(
                f"the pseudo-label '{label}' has no {what} '{name}' in '{folder}': remove the label, or "
                "correct data_prefix"
            )
        raise DataError(
            f"'{name}' has several {what}s in '{folder}' ({', '.join(map(osp.basename, paths))}): set the "
            "suffix, or remove some"
        )
