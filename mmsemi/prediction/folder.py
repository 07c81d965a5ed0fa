# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Predictions of many images in a folder, which a killed call leaves so that the next one goes on.

    OUT/masks/<name>.png, OUT/colors/<name>.png, OUT/overlays/<name>.jpg, OUT/confidence/<name>.png
    OUT/predict.json     what they were made of; another checkpoint, other settings or other images are refused

An image is done if all of its files are there and none is older than the image. Files are complete or not there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from torch.utils.data import DataLoader, Dataset

from ..errors import ConfigError, DataError
from ..self_training.image_job import Progress
from ..utils.files import file_sha256, path_below, write_beside
from .inputs import Input
from .pictures import KINDS, encode_picture
from .predictor import Prediction, Predictor
from .preparation import Preparation, Prepared

RECORD = "predict.json"


class Failure(NamedTuple):
    """An image without results, and why in one line that names it."""

    path: str
    reason: str


class PredictionFolder:
    """Writes the predictions of images into a folder; see the module.

    Args:
        predictor: The model.
        inputs: The images.
        base: The folder below which they have their names.
        out: The folder.
        kinds: What is written, of :data:`~mmsemi.prediction.pictures.KINDS`.
        batch_size: Images of one forward, if they have one size.
        workers: Processes that read images.

    Raises:
        ConfigError: The folder holds something else, a result would replace an image, or a number is
            wrong.
    """

    def __init__(
        self,
        predictor: Predictor,
        inputs: Sequence[Input],
        base: str,
        out: str | os.PathLike,
        kinds: Sequence[str] = ("masks", "overlays"),
        batch_size: int = 4,
        workers: int = 2,
    ) -> None:
        if batch_size < 1 or workers < 0:
            raise ConfigError(
                f"batch_size={batch_size} must be at least 1, workers={workers} at least 0"
            )
        self.predictor, self.inputs, self.out = predictor, list(inputs), Path(out).expanduser()
        self.kinds, self.batch_size, self.workers = list(dict.fromkeys(kinds)), batch_size, workers
        self._refuse_inputs()
        self._take_folder(base)
        self.todo = [one for one in self.inputs if not self._is_done(one)]

    def run(self) -> list[Failure]:
        """Predict what is not done.

        Returns:
            The images that could not be.
        """
        progress = Progress("predict", len(self.todo))
        failed: list[tuple[int, str]] = []
        jobs: dict[int, Future] = {}
        with ThreadPoolExecutor(2) as pool:
            for batch in progress.watch(self._batches()):
                results = self._results([item for item in batch if not isinstance(item[1], str)])
                # One batch is written while the next one is predicted, and no more are waiting.
                failed += _ended(jobs)
                jobs = {
                    number: pool.submit(self._write, self.todo[number], made, picture)
                    for number, made, picture in results
                    if not isinstance(made, str)
                }
                failed += [item[:2] for item in (*batch, *results) if isinstance(item[1], str)]
            failed += _ended(jobs)
        return [Failure(self.todo[number].path, reason) for number, reason in sorted(failed)]

    # ---------------------------------------------------------------- the folder

    def _files(self, one: Input) -> dict[str, Path]:
        return {kind: path_below(self.out / kind, one.name + KINDS[kind]) for kind in self.kinds}

    def _refuse_inputs(self) -> None:
        """Refuse results that would replace images."""
        real = {os.path.realpath(one.path): one.path for one in self.inputs}
        for one in self.inputs:
            for file in self._files(one).values():
                if os.path.realpath(file) in real:
                    raise ConfigError(
                        f"the result '{file}' would replace an image that is to be predicted: give another "
                        "folder for the results"
                    )

    def _take_folder(self, base: str) -> None:
        """Record what the results are made of, or compare it with what is recorded."""
        origin, path = self.predictor.origin, self.out / RECORD
        record = dict(
            checkpoint_sha256=file_sha256(origin["checkpoint"]),
            networks=origin["networks"],
            settings_sha256=origin["settings_sha256"],
            tile=self.predictor.tile,
            max_pixels=self.predictor.max_pixels,
            images=os.path.realpath(base),
        )
        if not path.is_file():
            if self.out.is_dir() and any(self.out.iterdir()):
                raise ConfigError(
                    f"'{self.out}' is not empty and holds no results of this command (it has no {RECORD}): "
                    "give another folder, or remove it"
                )
            content = json.dumps(record, indent=1) + "\n"
            write_beside(path, lambda file: file.write(content.encode()))
            return
        known = json.loads(path.read_text())
        other = [key for key in record if known.get(key) != record[key]]
        if other:
            raise ConfigError(
                f"'{self.out}' holds results of another {' and '.join(other)} ({path}): give another folder, or "
                "remove it"
            )

    def _is_done(self, one: Input) -> bool:
        """Whether all files are there, and newer than the image."""
        try:
            changed = os.stat(one.path).st_mtime_ns
            return all(f.stat().st_mtime_ns >= changed for f in self._files(one).values())
        except FileNotFoundError:
            return False

    def _write(self, one: Input, made: Prediction, picture: object) -> None:
        for kind, path in self._files(one).items():
            try:
                content = encode_picture(kind, made, self.predictor.palette, picture)
            except DataError as error:
                raise DataError(f"'{one.path}': {error}") from None
            write_beside(path, lambda file, content=content: file.write(content))

    # ---------------------------------------------------------------- the images

    def _batches(self) -> Iterator[list[tuple[int, Prepared | str]]]:
        """Number and image, or the reason why there is none; a batch ends early behind a large image."""
        images = _Images(self.predictor.preparation, self.todo, "overlays" in self.kinds)
        if not images:
            return
        workers = 0 if len(images) == 1 else min(self.workers, len(images))
        loader = DataLoader(images, batch_size=None, num_workers=workers, collate_fn=_as_it_is)
        batch, pixels = [], 0
        for number, item in enumerate(loader):
            batch.append((number, item))
            pixels += 0 if isinstance(item, str) else item.input_Chw[0].numel()
            if len(batch) == self.batch_size or pixels > self.predictor.max_pixels:
                yield batch
                batch, pixels = [], 0
        if batch:
            yield batch

    def _results(
        self, items: list[tuple[int, Prepared]]
    ) -> list[tuple[int, Prediction | str, object]]:
        """Number, prediction or the reason why there is none, and picture of images."""
        try:
            made = self.predictor.predict_prepared([image for _, image in items])
        except Exception as error:  # what a network raises depends on it, such as for a tiny image
            if len(items) > 1:
                return [result for item in items for result in self._results([item])]
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            path = self.todo[items[0][0]].path
            return [(items[0][0], f"'{path}' cannot be predicted: {reason}", None)]
        return [(number, one, image.picture_HW3) for (number, image), one in zip(items, made)]


class _Images(Dataset):
    """Prepared images by number, or the reason why there is none."""

    def __init__(self, preparation: Preparation, inputs: list[Input], with_picture: bool) -> None:
        self.preparation, self.inputs, self.with_picture = preparation, inputs, with_picture

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, number: int) -> Prepared | str:
        try:
            return self.preparation(self.inputs[number].path, self.with_picture)
        except DataError as error:
            return str(error)


def _as_it_is(item: object) -> object:
    """A function of a module, which a worker process can be given."""
    return item


def _ended(jobs: Mapping[int, Future]) -> list[tuple[int, str]]:
    """Wait for files to be written; the images for which there is no such file, and why."""
    failed = []
    for number, job in jobs.items():
        try:
            job.result()
        except DataError as error:
            failed.append((number, str(error)))
    return failed
