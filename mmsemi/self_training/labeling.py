# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A folder of pseudo-labels from a model and a list of images.

    OUT/labels/<id>.png          class indices, the ignored value where the pixel is not admitted
    OUT/confidence/<id>.png      16 bits, 65535 is certainty; rounded up
    OUT/thresholds.json          written last: thresholds, counts, admitted shares, what could not be read

Two passes over the images, as published: the first one samples confidences, the second one, which knows
the thresholds, writes. Where every pixel is admitted there is no first one. How processes share the work and
what a restart does: image_job.py. No mask is opened here; :func:`~.label_files.compare_with_masks` does so,
and only when it is called.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..errors import ConfigError
from ..utils.files import path_below, write_beside
from .image_job import ImageJob, Unreadable, json_bytes, write_json
from .inference import probabilities
from .label_files import CONFIDENCE, LABELS, check_disk, encode_confidence, write_png
from .label_settings import LabelSettings
from .thresholds import Confidences, assign, class_thresholds

THRESHOLDS = "thresholds.json"


class Labeler(ImageJob):
    """Labels the images of a data set into a folder; see the module.

    Args:
        model: In eval mode, on its device.
        dataset: A plain data set of images whose pipeline is that of a test, without masks.
        ids: Name of the label of each image.
        out: The folder.
        settings: How.
        origin: What the labels depend on besides the settings, e.g. hashes of checkpoint and config.
        classes: Names.
        ignore_index: Value of pixels that are not admitted, in [0, 255].
        workers: Processes that read images.

    Raises:
        ConfigError: There are more classes than 8 bits tell apart, or the folder holds other labels.
        DataError: There is no image.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        ids: Sequence[str],
        out: str | os.PathLike,
        settings: LabelSettings,
        origin: dict[str, Any],
        classes: Sequence[str],
        ignore_index: int = 255,
        workers: int = 2,
    ) -> None:
        self.num_classes = max(2, model.out_channels)
        if self.num_classes > 255 or not self.num_classes <= ignore_index <= 255:
            raise ConfigError(
                f"{self.num_classes} classes and the ignored value {ignore_index} do not fit into 8 bits"
            )
        super().__init__(
            dataset,
            ids,
            Path(out),
            THRESHOLDS,
            dict(origin, settings=asdict(settings)),
            settings.batch_size,
            workers,
        )
        self.model, self.settings, self.ignore_index = model, settings, ignore_index
        self.classes = [*classes, *map(str, range(len(classes), self.num_classes))]
        self._thresholds: list[float] | None = None

    def run(self) -> dict[str, Any]:
        """Label what is not labelled yet.

        Returns:
            What ``thresholds.json`` holds.

        Raises:
            ConfigError: The folder holds labels that were made otherwise.
            MachineError: The labels would not fit on the disk.
            DataError: No image can be read.
        """
        if self.take_folder(self._check_disk):
            return json.loads(self.result.read_text())
        cfg, collected = self.settings, None
        if cfg.assign != "all":
            self.run_pass("confidences", "npz", self._sample)
            collected = cfg.collector(self.num_classes)
            for path in self.files("confidences", "npz"):
                with np.load(path) as state:
                    collected.merge(dict(state))
            self._thresholds = class_thresholds(collected, cfg.ratio, cfg.assign, self.num_classes)
        with ThreadPoolExecutor(2) as self._pool:
            self.run_pass("labels", "json", self._write)
        parts = [json.loads(path.read_text()) for path in self.files("labels", "json")]
        predicted = np.sum([part["predicted"] for part in parts], 0)
        admitted = np.sum([part["admitted"] for part in parts], 0)
        unreadable = [Unreadable(*one) for part in parts for one in part["unreadable"]]
        self.tell_unreadable(unreadable)
        report = self._report(collected, predicted, admitted, unreadable)
        self.finish(json_bytes(report))
        return report

    def _check_disk(self) -> None:
        paths = [self.dataset.get_data_info(i)["img_path"] for i in range(len(self.dataset))]
        check_disk(paths, self.out, self.settings.confidence)

    def _report(
        self,
        collected: Confidences | None,
        predicted: np.ndarray,
        admitted: np.ndarray,
        unreadable: list[Unreadable],
    ) -> dict[str, Any]:
        sampled = collected.counts() if collected is not None else [0]
        if len(sampled) == 1:
            sampled = sampled * self.num_classes
        classes = [
            dict(
                name=name,
                threshold=None if self._thresholds is None else self._thresholds[number],
                sampled=int(sampled[number]),
                predicted=int(predicted[number]),
                admitted=int(admitted[number]),
                share=float(admitted[number] / predicted[number]) if predicted[number] else None,
            )
            for number, name in enumerate(self.classes[: self.num_classes])
        ]
        return dict(
            images=len(self.ids) - len(unreadable),
            admitted=float(admitted.sum() / max(1, predicted.sum())),
            classes=classes,
            unreadable=[one._asdict() for one in unreadable],
            **self.record["settings"],
        )

    def _predicted(self, batches: Iterator[list]) -> Iterator[tuple[list, list]]:
        """Readable samples of batches with their probabilities, and the unreadable ones."""
        for items in batches:
            broken = [item for item in items if isinstance(item, Unreadable)]
            samples = [item for item in items if not isinstance(item, Unreadable)]
            maps = probabilities(self.model, samples, self.settings.scales, self.settings.flip)
            yield list(zip(samples, maps)), broken

    def _sample(self, batches: Iterator[list], path: Path) -> None:
        collected = self.settings.collector(self.num_classes)
        sampler = self.settings.sampler()
        for pairs, _ in self._predicted(batches):
            tops = [prob_CHW.flatten(1).max(0) for _, prob_CHW in pairs]
            sizes = [len(top.values) for top in tops]
            chosen = sampler(sizes, [sample["number"] for sample, _ in pairs])
            for top, where in zip(tops, chosen):
                index = torch.from_numpy(where).to(top.values.device)
                label, confidence = top.indices[index].cpu(), top.values[index].cpu()
                collected.add(label.numpy().astype(np.uint8), confidence.numpy())
        write_beside(path, lambda file: np.savez(file, **collected.state()))

    def _write(self, batches: Iterator[list], path: Path) -> None:
        predicted = np.zeros(self.num_classes, np.int64)
        admitted, unreadable, jobs = predicted.copy(), [], []
        for pairs, broken in self._predicted(batches):
            unreadable += broken
            for sample, prob_CHW in pairs:
                if self._thresholds is None:
                    top = prob_CHW.max(0)
                    label_HW, confidence_HW = top.indices.to(torch.uint8), top.values
                else:
                    label_HW, confidence_HW = assign(
                        prob_CHW, self._thresholds, self.settings.assign, self.ignore_index
                    )
                class_HW = prob_CHW.argmax(0)
                predicted += _count(class_HW, self.num_classes)
                # By the likeliest class, which the rule 'ratio' may replace.
                admitted += _count(class_HW[label_HW != self.ignore_index], self.num_classes)
                name = self.ids[sample["number"]]
                maps = [(LABELS, label_HW.cpu().numpy())]
                if self.settings.confidence:
                    maps.append((CONFIDENCE, encode_confidence(confidence_HW.cpu().numpy())))
                for folder, array in maps:
                    file = path_below(self.out / folder, f"{name}.png")
                    jobs.append(self._pool.submit(write_png, file, array))
        for job in jobs:
            job.result()
        write_json(
            path,
            dict(predicted=predicted.tolist(), admitted=admitted.tolist(), unreadable=unreadable),
        )


def _count(label_HW: Tensor, num_classes: int) -> np.ndarray:
    return torch.bincount(label_HW.flatten().long(), minlength=256)[:num_classes].cpu().numpy()
