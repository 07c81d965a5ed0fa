# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Work on a list of images that is shared by processes, and goes on where a killed call left it.

    OUT/settings.json            what the result is made of; other settings are refused
    OUT/work/                    a file for each part that is finished, until all is
    OUT/<result>                 written last

Images go in shards of a fixed number, each of which leaves a file when it is done; processes share the
shards through the folder. Which images share a batch never depends on what was done before or on the number
of processes, so neither does the result.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.dist import barrier, get_dist_info
from torch.utils.data import DataLoader, Dataset

from ..errors import ConfigError, DataError
from ..utils.files import write_beside

SETTINGS = "settings.json"
_WORK = "work"
_SHARD = 8  # batches


class Unreadable(NamedTuple):
    """An image that could not be used, and why."""

    path: str
    reason: str


class ReadableImages(Dataset):
    """The samples of a plain data set by number; an unreadable image is told, not raised."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> dict | Unreadable:
        info = self.dataset.get_data_info(number)
        try:
            sample = self.dataset.pipeline(info)
            if sample is None:
                raise DataError("its pipeline returned nothing")
            return dict(sample, number=number)
        except ConfigError:
            raise  # of the pipeline, whatever the image
        except Exception as error:  # decoders raise many types for broken data
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            return Unreadable(self.dataset.get_data_info(number)["img_path"], reason)


class ImageJob:
    """The shared part; see the module.

    Args:
        dataset: A plain data set of images whose pipeline is that of a test, without masks.
        ids: Name of each image.
        out: The folder.
        result: File that is written last.
        record: What the result depends on, besides the images.
        batch_size: Images of one forward.
        workers: Processes that read images.

    Raises:
        DataError: There is no image.
    """

    def __init__(
        self,
        dataset: Dataset,
        ids: Sequence[str],
        out: Path,
        result: str,
        record: dict[str, Any],
        batch_size: int,
        workers: int,
    ) -> None:
        if not len(dataset):
            raise DataError(f"there is no image for '{out}'")
        self.dataset, self.ids, self.out, self.workers = dataset, list(ids), Path(out), workers
        self.result = self.out / result
        digest = hashlib.sha256("\n".join(self.ids).encode()).hexdigest()
        record = dict(record, images_sha256=digest, images=len(self.ids))
        self.record = json.loads(json.dumps(record))
        self.rank, self.world_size = get_dist_info()
        numbers = range(len(self.ids))
        batches = [list(numbers[i : i + batch_size]) for i in numbers[::batch_size]]
        self.shards = [batches[i : i + _SHARD] for i in range(0, len(batches), _SHARD)]

    def take_folder(self, prepare: Callable[[], object] = lambda: None) -> bool:
        """Whether the folder is finished; else make it ready.

        Args:
            prepare: Called once, before a new folder is written to.

        Raises:
            ConfigError: The folder holds something that was made otherwise.
        """
        path = self.out / SETTINGS
        if path.is_file():
            known = json.loads(path.read_text())
            if known != self.record:
                other = [k for k in self.record if known.get(k) != self.record[k]]
                raise ConfigError(
                    f"'{self.out}' was made with another {' and '.join(other) or 'run'}: give another "
                    "folder, or remove it"
                )
        elif self.out.is_dir() and any(self.out.iterdir()):
            raise ConfigError(
                f"'{self.out}' is not empty and nothing of this command (it has no {SETTINGS}): "
                "give another folder, or remove it"
            )
        barrier()
        if self.result.is_file():
            return True
        if self.rank == 0:
            prepare()
            write_json(path, self.record)
            (self.out / _WORK).mkdir(exist_ok=True)
        barrier()
        return False

    def files(self, name: str, suffix: str) -> list[Path]:
        """What a pass leaves for each shard."""
        return [self.out / _WORK / f"{name}_{i:05d}.{suffix}" for i in range(len(self.shards))]

    def run_pass(
        self, name: str, suffix: str, work: Callable[[Iterator[list], Path], None]
    ) -> None:
        """Give the batches of each shard that has no file yet to ``work``, which writes the file.

        A batch is a list of samples with their ``number``, or of :class:`Unreadable`.
        """
        files = self.files(name, suffix)
        own = range(self.rank, len(self.shards), self.world_size)
        todo = [i for i in own if not files[i].is_file()]
        batches = [batch for i in todo for batch in self.shards[i]]
        loader = DataLoader(
            ReadableImages(self.dataset),
            batch_sampler=batches,
            num_workers=min(self.workers, len(batches)),
            collate_fn=list,
        )
        progress = Progress(name, sum(map(len, batches)), self.rank == 0)
        loaded = iter(progress.watch(loader)) if batches else iter(())
        for i in todo:
            work(islice(loaded, len(self.shards[i])), files[i])
        next(loaded, None)  # the line of the last batch
        barrier()

    def finish(self, content: bytes) -> None:
        """Write the result, and remove what led to it."""
        barrier()  # the others still read it
        if self.rank == 0:
            write_beside(self.result, lambda file: file.write(content))
            shutil.rmtree(self.out / _WORK)
        barrier()

    def tell_unreadable(self, found: Sequence[Unreadable]) -> None:
        """Say which images could not be read.

        Raises:
            DataError: None could.
        """
        for one in found if self.rank == 0 else ():
            print(f"'{one.path}' cannot be read and is left out: {one.reason}", file=sys.stderr)
        if len(found) == len(self.ids):
            raise DataError(
                f"none of the {len(self.ids)} images can be read, the first is '{found[0].path}': "
                f"{found[0].reason}"
            )


def write_json(path: Path, content: Any) -> None:
    """Write a file, complete or not at all."""
    write_beside(path, lambda file: file.write(json_bytes(content)))


def json_bytes(content: Any) -> bytes:
    """For a file that people read, too."""
    return (json.dumps(content, indent=1) + "\n").encode()


class Progress:
    """A line that is rewritten on a terminal, or a line now and then elsewhere.

    Args:
        name: Of what is done.
        total: Number of images.
        shown: Whether anything is printed.
    """

    def __init__(self, name: str, total: int, shown: bool = True) -> None:
        self.name, self.total, self.shown = name, total, shown and total > 0

    def watch(self, batches: Any) -> Iterator[list]:
        """The batches, counted."""
        done, last, started = 0, 0.0, time.monotonic()
        terminal = sys.stdout.isatty()
        for batch in batches:
            yield batch
            done += len(batch)
            now = time.monotonic()
            if self.shown and (done >= self.total or now - last >= (0.2 if terminal else 20)):
                last, left = now, (now - started) / done * (self.total - done)
                text = f"{self.name}: {done}/{self.total} images, {left:.0f} s left"
                print(f"\r{text}  " if terminal else text, end="" if terminal else "\n", flush=True)
        if self.shown and terminal:
            print()
