# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How stable the prediction of each image was in a training: a table of scores, made once.

    OUT/scores.csv      written last: id, m_1 ... m_(K-1), r, number of classes of the last map; sorted by id

Which share of the images is taken is another question, so that another share needs no forward. The same bytes
after any interruption, by one process or several: image_job.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import nn
from torch.utils.data import Dataset

from .image_job import ImageJob, Unreadable, write_json
from .inference import probabilities
from .reliability import agreements

SCORES = "scores.csv"


class Scorer(ImageJob):
    """Scores the images of a data set by several checkpoints of one training.

    Args:
        models: The earlier ones, then the last one; in eval mode, on their device.
        dataset: A plain data set of images whose pipeline is that of a test, without masks.
        ids: Name of each image.
        out: The folder.
        origin: What the scores depend on: hashes of checkpoints and config.
        workers: Processes that read images.

    Raises:
        DataError: There is no image.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        dataset: Dataset,
        ids: Sequence[str],
        out: Path,
        origin: dict,
        workers: int = 2,
    ) -> None:
        # One image at a time, as released: K networks take the memory of a batch.
        super().__init__(dataset, ids, out, SCORES, origin, 1, workers)
        self.models = list(models)
        self.num_classes = max(2, models[-1].out_channels)

    def run(self) -> dict[str, float]:
        """Score what is not scored yet.

        Returns:
            r of each image that can be read, by its id.

        Raises:
            ConfigError: The folder holds other scores.
            DataError: No image can be read.
        """
        if not self.take_folder():
            self.run_pass("scores", "json", self._score)
            parts = [json.loads(path.read_text()) for path in self.files("scores", "json")]
            self.tell_unreadable([Unreadable(*one) for part in parts for one in part["unreadable"]])
            head = ["id", *(f"m_{k}" for k in range(1, len(self.models))), "r", "classes"]
            rows = sorted(row for part in parts for row in part["rows"])
            lines = [",".join(head), *(",".join(row) for row in rows)]
            self.finish(("\n".join(lines) + "\n").encode())
        return read_scores(self.result)

    def _score(self, batches: Iterator[list], path: Path) -> None:
        rows, unreadable = [], []
        for (item,) in batches:
            if isinstance(item, Unreadable):
                unreadable.append(item)
                continue
            maps = [
                probabilities(model, [item])[0].argmax(0).cpu().numpy() for model in self.models
            ]
            means = agreements(maps, self.num_classes)
            numbers = [f"{value:.17g}" for value in (*means, float(np.mean(means)))]
            rows.append([self.ids[item["number"]], *numbers, str(len(np.unique(maps[-1])))])
        write_json(path, dict(rows=rows, unreadable=unreadable))


def read_scores(path: Path) -> dict[str, float]:
    """r of each image of a ``scores.csv``, by its id, which may hold commas."""
    head, *lines = path.read_text().splitlines()
    columns = head.count(",")
    return {fields[0]: float(fields[-2]) for fields in (x.rsplit(",", columns) for x in lines)}


def describe_scores(scores: dict[str, float]) -> str:
    """Quartiles of the scores, and the share of the images that never changed."""
    values = np.asarray(list(scores.values()))
    low, mid, high = np.quantile(values, (0.25, 0.5, 0.75))
    return (
        f"reliability of {len(values)} images: quartiles {low:.3f} {mid:.3f} {high:.3f}, "
        f"{100 * (values >= 1).mean():.1f} % equal in all checkpoints"
    )
