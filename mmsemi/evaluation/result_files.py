# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Predictions as pictures, scores as a text file.

Decision: pictures are written while the set is predicted and get their names at the end, when all
image paths are known: the path below the images' common folder, as in the ids of splits. Images of
a flat folder thus keep their plain names, and those of two folders do not overwrite each other. Each
process names its own pictures, so that they need no shared disk.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from PIL import Image
from torch import Tensor

from ..datasets.files import relative_ids
from ..errors import ConfigError, DataError
from ..utils.files import path_below, write_beside
from .gated_iou_metric import iou_settings
from .image_level_gate import ImageLevelGate
from .predictions import label_map


def result_text(classes: Sequence[str], intersect_C: Tensor, union_C: Tensor) -> str:
    """The reference's ``result.txt``: a line a class, then the mean, all as fractions.

    A class that neither labels nor predictions have is ``nan`` and not part of the mean, as in
    mmseg's ``IoUMetric``.

    Args:
        classes: Class names.
        intersect_C, union_C: Pixels over the whole set.
    """
    ious = (intersect_C.double() / union_C.double()).numpy()
    lines = [
        f"class {i:2d} {name:12} IU {iou:.2f}" for i, (name, iou) in enumerate(zip(classes, ious))
    ]
    mean = float(ious[~np.isnan(ious)].mean()) if not np.isnan(ious).all() else float("nan")
    return "\n".join([*lines, f"meanIOU: {mean!r}"]) + "\n"


@METRICS.register_module()
class ResultFiles(IoUMetric):
    """mmseg's ``IoUMetric`` that also writes a picture of every prediction and ``result.txt``.

    The pictures are palette PNGs: they show the colours of the data set and hold the class indices
    (with ``reduce_zero_label``, those after the reduction; ``output_dir`` writes mmseg's form). With
    ``format_only=True``, for images without masks, there are pictures only. Any test config takes it
    by ``--cfg-options test_evaluator.type=ResultFiles test_evaluator.out_dir=results``.

    Args:
        out_dir: Folder of the files; those of an earlier run are replaced.
        gate: Arguments of :class:`ImageLevelGate`; ``None`` shows the predictions as they are.
        **settings: Arguments of ``IoUMetric``.

    Raises:
        ConfigError: An unknown argument; a data set without palette or with more than 256 classes.
        DataError: There is no score table; two images whose pictures would have one name; a picture's
            name leads out of ``out_dir``.
    """

    def __init__(self, out_dir: str, gate: dict | None = None, **settings: Any) -> None:
        super().__init__(**iou_settings(settings, "ResultFiles"))
        self.out_dir = Path(out_dir)
        self.gate = None if gate is None else ImageLevelGate.build(gate)
        self._pictures: dict[str, Path] = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count a batch of predictions and store their pictures, still without their names."""
        if self.gate is not None:
            data_samples = self.gate.apply(data_samples, self.dataset_meta["classes"])
        super().process(data_batch, data_samples)
        for sample in data_samples:
            self._store(sample["img_path"], label_map(sample, "pred_sem_seg"))

    @property
    def _folder(self) -> Path:
        """This process's pictures until they are named."""
        return self.out_dir / f".unnamed-{get_rank()}"

    def _store(self, img_path: str, labels_HW: Tensor) -> None:
        if not self._pictures:
            shutil.rmtree(self._folder, ignore_errors=True)  # of an interrupted run
            self._folder.mkdir(parents=True)
        picture = Image.fromarray(labels_HW.cpu().numpy().astype(np.uint8))
        picture.putpalette(self._palette())
        # An image may occur twice, in a list or where processes share a set that they cannot divide.
        path = self._pictures.get(img_path) or self._folder / f"{len(self._pictures)}.png"
        picture.save(path)
        self._pictures[img_path] = path

    def _palette(self) -> bytes:
        """256 colours as PIL wants them."""
        classes, palette = self.dataset_meta["classes"], self.dataset_meta.get("palette") or []
        if not len(classes) <= len(palette) <= 256:
            raise ConfigError(
                f"ResultFiles needs a colour for each class, at most 256: the data set has "
                f"{len(classes)} classes and {len(palette)} colours (metainfo.palette)"
            )
        colours = np.zeros((256, 3), np.uint8)
        colours[: len(palette)] = palette
        return colours.tobytes()

    def evaluate(self, size: int) -> dict:
        """Name the pictures, then compute the scores as every metric does."""
        paths = sorted({path for part in all_gather_object(list(self._pictures)) for path in part})
        names = dict(zip(paths, relative_ids(paths) if paths else []))
        owner = {name: path for path, name in names.items()}
        for path, name in names.items():
            if owner[name] != path:
                raise DataError(
                    f"images '{path}' and '{owner[name]}' differ in their suffix only, so that both "
                    f"pictures would be '{name}.png': rename one of them"
                )
        for path, picture in self._pictures.items():
            target = path_below(self.out_dir, f"{names[path]}.png")
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(picture, target)
        self._pictures.clear()
        shutil.rmtree(self._folder, ignore_errors=True)
        return super().evaluate(size)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Write ``result.txt`` and return what ``IoUMetric`` does; the main process calls it."""
        print_log(f"pictures of the predictions are in {self.out_dir}", "current")
        if self.format_only:
            return {}
        # In float64: float32 counts of a large set's pixels are rounded.
        intersect_C, union_C = (
            torch.stack(part).double().sum(0) for part in list(zip(*results))[:2]
        )
        text = result_text(self.dataset_meta["classes"], intersect_C, union_C)
        write_beside(self.out_dir / "result.txt", lambda file: file.write(text.encode()))
        return super().compute_metrics(results)
