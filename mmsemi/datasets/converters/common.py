# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the converters share: masks, lists, counts, worker processes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from mmengine.registry import init_default_scope
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ...errors import DataError
from ...utils.files import write_beside
from ..checks import check_config, is_failure
from ..checks.report import summary
from ..splits import MASTERS, ids_sha256, read_id_list

IGNORE = 255
Palette = Sequence[Sequence[int]]
#: What Pillow raises for files that it cannot read, broken PNG chunks and too large pictures included.
_UNREADABLE = (OSError, SyntaxError, Image.DecompressionBombError)


class TargetDiffersError(DataError):
    """A file that would be written exists with other content, which is never overwritten."""


class Outcome(NamedTuple):
    """What became of one mask.

    Attributes:
        is_new: It was written by this run.
        present: (256,) bool, which values it has.
    """

    is_new: bool
    present: np.ndarray


# --- Masks ----------------------------------------------------------------------------------------


def present_values(mask: np.ndarray) -> np.ndarray:
    """(256,) bool: the values of a (H, W) uint8 mask."""
    return np.bincount(mask.ravel(), minlength=256) > 0


def list_values(present: np.ndarray) -> str:
    """The values as text, runs as ranges: ``0-18, 255``."""
    values = np.flatnonzero(present).tolist()
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs) or "none"


def read_mask(path: Path) -> np.ndarray:
    """The indices of a grey or palette PNG, (H, W) uint8.

    Raises:
        DataError: The file is broken, or a colour or 16-bit picture.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P", "1"):
                raise DataError(
                    f"'{path}' is a picture of mode {image.mode}: a mask has one 8-bit index a pixel"
                )
            return np.array(image, dtype=np.uint8)
    except _UNREADABLE as error:
        raise DataError(f"mask '{path}' cannot be read: {error}") from None


def check_values(
    mask: np.ndarray, num_classes: int, path: Path, ignore: int | None = IGNORE
) -> np.ndarray:
    """The values of a mask, all of them classes or ``ignore``.

    Returns:
        (256,) bool, as :func:`present_values`.

    Raises:
        DataError: The mask has another value.
    """
    present = present_values(mask)
    illegal = present.copy()
    illegal[:num_classes] = False
    if ignore is not None:
        illegal[ignore] = False
    if illegal.any():
        raise DataError(
            f"'{path}' has the values {list_values(illegal)}; legal are 0-{num_classes - 1}"
            f"{'' if ignore is None else f' and {ignore}'}"
        )
    return present


def read_picture(path: Path) -> Image.Image:
    """A picture as RGB."""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except _UNREADABLE as error:
        raise DataError(f"'{path}' cannot be read: {error}") from None


def image_size(path: Path) -> tuple[int, int]:
    """Width and height, from the header only."""
    try:
        with Image.open(path) as image:
            return image.size
    except _UNREADABLE as error:
        raise DataError(f"image '{path}' cannot be read: {error}") from None


def check_size(mask: np.ndarray, source: Path, image: Path) -> None:
    """Refuse a (H, W) mask of another size than its image."""
    size = image_size(image)
    if mask.shape[::-1] != size:
        raise DataError(
            f"mask '{source}' is {mask.shape[1]}x{mask.shape[0]} pixels, its image '{image}' "
            f"{size[0]}x{size[1]}"
        )


def write_mask(path: Path, mask: np.ndarray, palette: Palette | None = None) -> bool:
    """Write a (H, W) uint8 mask as PNG, or check the one that is there.

    Args:
        palette: Colours of the classes for a palette PNG (viewers show colours, the stored indices
            stay the classes); a grey PNG without.

    Returns:
        Whether it was written.

    Raises:
        TargetDiffersError: A file of that name has other values.
    """
    if path.exists():
        if not np.array_equal(read_mask(path), mask):
            raise TargetDiffersError(
                f"'{path}' exists with other values than its source gives; it is not overwritten: "
                "rename or remove it"
            )
        return False
    image = Image.fromarray(mask)
    if palette is not None:
        colours = np.zeros((256, 3), np.uint8)
        colours[: len(palette)] = palette
        colours[IGNORE] = (224, 224, 192)  # VOC's border
        image.putpalette(colours.tobytes())
    write_beside(path, lambda file: image.save(file, "PNG"))
    return True


def write_image(path: Path, image: Image.Image, **options) -> bool:
    """Write an image unless it is there; returns whether it was written."""
    if path.exists():
        if image_size(path) != image.size:
            raise TargetDiffersError(
                f"'{path}' exists with another size than its source gives; it is not overwritten: "
                "rename or remove it"
            )
        return False
    kind = "JPEG" if path.suffix == ".jpg" else "PNG"
    write_beside(path, lambda file: image.save(file, kind, **options))
    return True


# --- What was written -----------------------------------------------------------------------------


def check_written(dataset: Mapping[str, Any], out: Path, nproc: int) -> None:
    """Judge ``images/{train,val}`` and ``labels/{train,val}`` by the rules of ``mmsemi check-dataset``.

    Args:
        dataset: Type of the data set, and classes if the type has none.
        out: The folder.
        nproc: Worker processes.

    Raises:
        DataError: A rule finds an error; all findings are printed.
    """
    init_default_scope("mmseg")
    steps = ("LoadImageFromFile", "LoadAnnotations", "PackSegInputs")
    config = {}
    for part in ("train", "val"):
        folders = dict(img_path=f"images/{part}", seg_map_path=f"labels/{part}")
        config[f"{part}_dataloader"] = dict(
            dataset=dict(
                dataset,
                data_root=str(out),
                data_prefix=folders,
                pipeline=[dict(type=step) for step in steps],
            )
        )
    result = check_config(config, nproc)
    for finding in result.findings:
        print(f"{finding.severity}: {finding.line}")
    print(f"{result.files} files in '{out}' checked: {summary(result.findings)}")
    if is_failure(result.findings, strict=False):
        raise DataError(f"'{out}' cannot be trained on, see the errors above")


# --- Archives -------------------------------------------------------------------------------------


@contextmanager
def unpacked(source: Path, beside: Path) -> Iterator[Path]:
    """The folder of a download: itself, or that of a zip file while the context lasts.

    Args:
        source: A folder or a zip file.
        beside: The archive is unpacked next to this path, where there is room for the data set.

    Raises:
        DataError: There is no such file or folder, or the archive is broken.
    """
    if source.is_dir():
        yield source
        return
    if not source.is_file():
        raise DataError(f"there is no file or folder '{source}'")
    beside.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{beside.name}_", dir=beside.parent) as folder:
        try:
            with zipfile.ZipFile(source) as archive:
                archive.extractall(folder)
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise DataError(f"'{source}' is no zip file, or a broken one: {error}") from None
        yield Path(folder)


# --- Names ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IdList:
    """What a complete list of images is known to be.

    Attributes:
        name: In words.
        count: Number of images.
        sha256: :func:`mmsemi.datasets.splits.ids_sha256` of the ids; ``None`` if not established.
    """

    name: str
    count: int
    sha256: str | None = None

    @classmethod
    def of_master(cls, name: str, master: str) -> IdList:
        """A list that splits are taken from, by its key in ``MASTERS``."""
        return cls(name, MASTERS[master].count, MASTERS[master].sha256)

    def check(self, ids: Sequence[str], subset: bool = False) -> None:
        """Compare and print.

        Raises:
            DataError: Another count or, with ``subset=False``, another hash.
        """
        if not ids:
            raise DataError(f"{self.name}: no image")
        sha256 = ids_sha256(ids)
        difference = ""
        if len(ids) != self.count:
            difference = f", the complete list has {self.count}"
        elif self.sha256 not in (None, sha256):
            difference = f", but other ones: ids sha256 {sha256[:16]} instead of {self.sha256[:16]}"
        if difference and not subset:
            raise DataError(
                f"{self.name}: {len(ids)} images{difference}; complete the download, or pass "
                "--subset if a part of the data set is meant"
            )
        known = f", ids sha256 {sha256[:16]}" if self.sha256 else " (no hash is known)"
        print(f"{self.name}: {len(ids)} images{difference or f'{known} as expected'}")


def need_folder(path: Path, what: str) -> Path:
    """The folder, or a message that says what is expected there."""
    if not path.is_dir():
        raise DataError(f"there is no folder '{path}' ({what})")
    return path


def list_stems(folder: Path, suffix: str, what: str) -> list[str]:
    """Sorted names, without the suffix, of the files in a folder that end with it."""
    need_folder(folder, what)
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.endswith(suffix) and not e.name.startswith(".")]
    return sorted(name[: -len(suffix)] for name in names)


def find_in_cities(folder: Path, suffix: str) -> list[str]:
    """Sorted ``<sub-folder>/<name>`` of the files one level down, without their suffix."""
    with os.scandir(folder) as entries:
        subs = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    return [f"{sub}/{stem}" for sub in subs for stem in list_stems(folder / sub, suffix, "")]


def need_all(wanted: Iterable[str], found: Iterable[str], what: str) -> None:
    """Refuse if one of ``wanted`` is not in ``found``; ``what`` has a place ``{}`` for the count."""
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise DataError(f"{what.format(len(missing))}, the first is '{missing[0]}'")


def write_list(path: Path, ids: Sequence[str]) -> None:
    """Write a list file, one id a line, or check the one that is there (its order may differ)."""
    if path.is_file():
        there = read_id_list(path)
        if sorted(there) != sorted(ids):
            raise TargetDiffersError(
                f"'{path}' exists and lists other images ({len(there)} instead of {len(ids)}): "
                "rename it, it is not overwritten"
            )
        order = "" if there == list(ids) else " in another order, which no split depends on"
        print(f"{path}: {len(ids)} images, kept{order}")
        return
    text = "\n".join(ids) + "\n"
    write_beside(path, lambda file: file.write(text.encode()))
    print(f"{path}: {len(ids)} images, written")


# --- Work -----------------------------------------------------------------------------------------


def _attempt(function: Callable, task: object) -> object:
    """Run one task; an error about the data becomes its result, so that the others still run."""
    try:
        return function(task)
    except DataError as error:
        return error
    except OSError as error:
        return DataError(str(error))


def _results(function: Callable, tasks: Iterable, nproc: int) -> Iterator[object]:
    attempt = partial(_attempt, function)
    if nproc == 1:
        yield from map(attempt, tasks)
        return
    tasks = iter(tasks)
    with ProcessPoolExecutor(nproc) as pool:
        # Tasks are handed out in portions: those of COCO would not all fit into the queue.
        while portion := list(islice(tasks, 256 * nproc)):
            yield from pool.map(attempt, portion, chunksize=16)


def map_files(function: Callable, tasks: Iterable, total: int, nproc: int, label: str) -> list:
    """Run ``function`` on every task in ``nproc`` processes, with a progress bar.

    Returns:
        The results, in the order of the tasks.

    Raises:
        DataError: One or more tasks failed; of the kind of the first one, with their number.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    console = Console(stderr=True)
    results = []
    try:
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            bar = progress.add_task(label, total=total)
            for result in _results(function, tasks, nproc):
                results.append(result)
                progress.advance(bar)
    except BrokenProcessPool:
        raise DataError(
            f"{label}: a worker process was killed, probably for memory; use a smaller --nproc"
        ) from None
    errors = [result for result in results if isinstance(result, DataError)]
    if errors:
        more = f" ({len(errors)} such files)" if len(errors) > 1 else ""
        raise type(errors[0])(f"{errors[0]}{more}")
    return results


def convert_masks(
    function: Callable[..., Outcome], jobs: Sequence, nproc: int, where: Path
) -> np.ndarray:
    """Run a mask conversion for every job, those whose ``target`` exists first.

    So a conflict with a file of the user is found before anything new is written. ``where`` is told
    in the summary.

    Returns:
        (256,) bool: the values of all masks together.
    """
    there = [job for job in jobs if job.target.exists()]
    fresh = [job for job in jobs if not job.target.exists()]
    outcomes: list[Outcome] = []
    for part, name in ((there, "compare masks"), (fresh, "write masks")):
        if part:
            outcomes += map_files(function, part, len(part), nproc, name)
    written = sum(outcome.is_new for outcome in outcomes)
    present = np.logical_or.reduce([outcome.present for outcome in outcomes])
    print(
        f"masks in '{where}': {written} written, {len(outcomes) - written} there already; "
        f"values {list_values(present)}"
    )
    return present
