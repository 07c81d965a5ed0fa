# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How well an image classifier knows which classes an image shows, and its scores as a file."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MessageHub, print_log
from mmseg.registry import METRICS
from torch import Tensor

from ..datasets.transforms.image_labels import classes_in
from ..engine.hooks.atomic_checkpoint_hook import WORK_DIR_KEY
from ..errors import ConfigError, DataError
from .score_table import ScoreTable, image_id


@METRICS.register_module()
class ImageLevelMetric(BaseMetric):
    """Multi-label metrics in percent, by mmpretrain's own calculations.

    The truth of an image are the classes with at least one pixel in its mask, which has the size of
    the file: stock test pipelines load it behind the last ``Resize``. An image without a labelled
    pixel is scored and not measured.

    - ``mAP``: mean average precision; ``CP``, ``CR``, ``CF1``: mean precision, recall and F1 of the
      classes. The mean is over the classes that the truth has: mmpretrain counts an absent one as 0.
    - ``OP``, ``OR``, ``OF1``: the same over all pairs of image and class, absent classes included.

    Args:
        threshold: Scores from it on count as positive.
        ignore_index: Value of pixels without a label.
        out_file: Also write a :class:`~mmsemi.evaluation.ScoreTable` (``.npz`` or ``.json``) of all
            images; a relative path starts in the work dir of the run. Where several networks are evaluated, the first one (which predicts) writes this
            file, another one ``<stem>_<network><suffix>``.
        text_file: Also write the scores in the reference's text form, a row an image in the order of
            the data set; named likewise.
        collect_device: Where the results of several processes are collected.
        prefix: Prefix of the names.

    Raises:
        ConfigError: The model gives no ``pred_scores`` or another number of them than there are
            classes, or there is neither a mask nor a file to write.
        DataError: Two images have one id, or a mask has a value that is no class.
    """

    def __init__(
        self,
        threshold: float = 0.5,
        ignore_index: int = 255,
        out_file: str | PathLike | None = None,
        text_file: str | PathLike | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not 0 < threshold < 1:
            raise ConfigError(f"ImageLevelMetric.threshold={threshold} must lie in (0, 1)")
        if out_file is not None and Path(out_file).suffix not in (".npz", ".json"):
            raise ConfigError(f"ImageLevelMetric.out_file='{out_file}' must end in .npz or .json")
        self.threshold = threshold
        self.ignore_index = ignore_index
        self.out_file, self.text_file = out_file, text_file
        self._first_network: str | None = None

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keep id, scores (C,) and truth (C,) of each image."""
        for sample in data_samples:
            if "pred_scores" not in sample:
                raise ConfigError(
                    "ImageLevelMetric measures scores of whole images, the model gives none "
                    "(pred_scores): it is for MLMTClassifier, IoUMetric for segmentors"
                )
            scores = sample["pred_scores"].detach().float().cpu().numpy()
            path = sample["img_path"]
            classes = self.dataset_meta["classes"]
            if scores.shape != (len(classes),):
                raise ConfigError(
                    f"image '{path}' has scores of shape {scores.shape}, the data set has "
                    f"{len(classes)} classes"
                )
            if "gt_sem_seg" not in sample and self.out_file is self.text_file is None:
                raise ConfigError(
                    f"image '{path}' came without a mask and there is no file to write its scores "
                    "to: add LoadAnnotations to the pipeline, or set out_file"
                )
            truth = self._truth(sample, path, len(classes))
            self.results.append((image_id(path), scores, truth, sample.get("network", "")))

    def _truth(self, sample: dict, path: str, num_classes: int) -> np.ndarray | None:
        """Shown classes (C,) as 1, others 0; None without a mask or without a labelled pixel."""
        if "gt_sem_seg" not in sample:
            return None
        labels = classes_in(sample["gt_sem_seg"]["data"].cpu().numpy(), self.ignore_index)
        if max(labels, default=0) >= num_classes:
            raise DataError(
                f"the mask of '{path}' has the value {max(labels)}, but the data set has "
                f"{num_classes} classes and ignore_index={self.ignore_index}"
            )
        truth = np.zeros(num_classes, np.int64)
        truth[list(labels)] = 1
        return truth if labels else None

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Write the files and return the metrics of the images whose truth is known."""
        ids, scores, truths, networks = zip(*results)
        self._write(ids, scores, networks[0])
        known = [index for index, truth in enumerate(truths) if truth is not None]
        if not known:
            print_log("no image has a labelled pixel: nothing is measured", "current")
            return {}
        return image_level_metrics(
            torch.from_numpy(np.stack([scores[index] for index in known])),
            torch.from_numpy(np.stack([truths[index] for index in known])),
            self.threshold,
        )

    def _write(self, ids: tuple[str, ...], scores: tuple[np.ndarray, ...], network: str) -> None:
        if self.out_file is self.text_file is None:
            return
        if self._first_network is None:
            self._first_network = network
        rows: dict[str, np.ndarray] = {}
        for name, row in zip(ids, scores):
            if name in rows:
                raise DataError(
                    f"two images have the id '{name}' (base name without suffix), by which score "
                    "tables go: rename one"
                )
            rows[name] = row
        split = MessageHub.get_current_instance().get_info("checkpoint_split", None)
        table = ScoreTable(tuple(self.dataset_meta["classes"]), rows, network, split)
        if self.out_file is not None:
            path = self._named(self.out_file, network)
            table.save(path)
            print_log(f"scores of {len(rows)} images are written to {path}", "current")
        if self.text_file is not None:
            table.save_text(self._named(self.text_file, network), ids)

    def _named(self, path: str | PathLike, network: str) -> Path:
        work_dir = MessageHub.get_current_instance().get_info(WORK_DIR_KEY, "")
        path = Path(work_dir, Path(path).expanduser())
        if network == self._first_network:
            return path
        return path.with_name(f"{path.stem}_{network}{path.suffix}")


def image_level_metrics(
    scores_NC: Tensor, truth_NC: Tensor, threshold: float = 0.5
) -> dict[str, float]:
    """mAP, CP, CR, CF1, OP, OR and OF1 in percent, see :class:`ImageLevelMetric`.

    Args:
        scores_NC: Scores in [0, 1].
        truth_NC: 1 for classes that are shown, 0 for others; at least one is shown.
        threshold: Scores from it on count as positive.
    """
    from mmpretrain.evaluation import AveragePrecision, MultiLabelMetric

    present_C = (truth_NC == 1).any(0)
    average_precision_C = AveragePrecision.calculate(scores_NC, truth_NC, average=None)
    values = dict(mAP=average_precision_C[present_C].mean())
    for prefix, average in (("C", None), ("O", "micro")):
        precision, recall, f1, _ = MultiLabelMetric.calculate(
            scores_NC, truth_NC, average=average, thr=threshold
        )
        for name, value in (("P", precision), ("R", recall), ("F1", f1)):
            values[prefix + name] = value[present_C].mean() if average is None else value
    return {name: value.item() for name, value in values.items()}
