# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What is in each file: read once, in worker processes, without a judgement.

Files are decoded with Pillow: it refuses a truncated picture where other decoders fill in grey, it
gives the indices of a palette mask, and it is what the stock ``LoadAnnotations`` reads masks with.
Formats that Pillow does not know go to OpenCV, the stock reader of images.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import cv2
import numpy as np
from mmengine import fileio
from PIL import Image, UnidentifiedImageError

from ...errors import DataError

# Files that a worker gets at a time: enough to hide the transfer, few enough for a smooth bar.
_CHUNK = 32
# More distinct values than this are no picture of labels.
_FEW = 64
_EXIF_ORIENTATION = 0x0112
# Above this, Pillow refuses a picture, and the stock loader of masks with it.
_MAX_PIXELS = 2 * Image.MAX_IMAGE_PIXELS


@dataclass
class Facts:
    """What is known about a file.

    Attributes:
        path: The file.
        problem: '' or one of 'missing', 'empty', 'unreadable', 'corrupt', 'too large' (a mask, for
            the decoder of training); nothing else is known then.
        reason: The decoder's words about the problem.
        width: Columns as they are stored.
        height: Rows as they are stored.
        mode: Pillow's name of the pixel format, e.g. 'RGB', 'L' (grey), 'P' (palette).
        file_format: Pillow's name of the file format, e.g. 'JPEG'.
        bits: Bits per channel.
        content: Hash of the file's bytes.
    """

    path: str
    problem: str = ""
    reason: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    file_format: str = ""
    bits: int = 8
    content: str = ""


@dataclass
class ImageFacts(Facts):
    """Facts of an image.

    Attributes:
        orientation: EXIF orientation; 1 is upright. Loaders turn the image by it, but no mask.
        few_values: The distinct values or colours if there are few, as in a picture of labels.
    """

    orientation: int = 1
    few_values: frozenset = field(default_factory=frozenset)

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height as training sees them, turned upright."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)

    @property
    def is_grey(self) -> bool:
        """Whether it has one channel without a palette."""
        return self.mode in ("1", "L", "LA", "I", "F") or self.mode.startswith("I;16")

    @property
    def has_alpha(self) -> bool:
        """Whether it has a transparency channel."""
        return self.mode in ("RGBA", "LA", "PA", "RGBa", "La")


@dataclass
class MaskFacts(Facts):
    """Facts of a mask.

    Attributes:
        histogram: Stored value -> pixels; empty for a colour picture.
        colours: The distinct colours of a colour picture if there are few.
        is_colour: It has several channels, so that it holds no class indices.
        equal_channels: Its channels are copies of each other.
    """

    histogram: dict[int, int] = field(default_factory=dict)
    colours: frozenset = field(default_factory=frozenset)
    is_colour: bool = False
    equal_channels: bool = False

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


Task = tuple[str, str, dict | None]  # 'image' or 'mask', path, backend_args of the dataset


def content_hash(data: bytes) -> str:
    """By which equal files are known."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _read(facts: Facts, backend_args: dict | None) -> bytes | None:
    try:
        data = fileio.get(facts.path, backend_args=backend_args)
    except FileNotFoundError:
        facts.problem = "missing"
        return None
    except Exception as error:  # a permission, a folder, or whatever a storage backend raises
        facts.problem, facts.reason = "unreadable", str(error)
        return None
    if not data:
        facts.problem = "empty"
        return None
    facts.content = content_hash(data)
    return bytes(data)


def _decode(facts: Facts, data: bytes) -> np.ndarray | None:
    """Pixels of a picture; fills in the facts that all pictures have."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            facts.width, facts.height = picture.size
            if isinstance(facts, MaskFacts) and facts.width * facts.height > _MAX_PIXELS:
                facts.problem, facts.reason = "too large", f"{facts.width}x{facts.height}"
                return None
            picture.load()
            facts.mode, facts.file_format = picture.mode, picture.format or ""
            if isinstance(facts, ImageFacts):
                facts.orientation = int(picture.getexif().get(_EXIF_ORIENTATION, 1))
                # Transparency of a palette or grey PNG sits beside the pixels.
                if "transparency" in picture.info and facts.mode in ("RGB", "L", "P"):
                    facts.mode = {"RGB": "RGBA", "L": "LA", "P": "PA"}[facts.mode]
            pixels = np.asarray(picture)
    except UnidentifiedImageError:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            facts.problem, facts.reason = "corrupt", "it is no picture that can be decoded"
            return None
        facts.height, facts.width = pixels.shape[:2]
        facts.mode = {2: "L", 3: "RGB"}.get(pixels.ndim, "")
    except Exception as error:  # Pillow's decoders raise many types for broken data
        facts.problem, facts.reason = "corrupt", str(error) or type(error).__name__
        return None
    # Pillow hands out 16-bit colour PNGs as 8 bit; their header tells.
    is_png16 = data[:4] == b"\x89PNG" and data[24] == 16
    facts.bits = 16 if is_png16 or pixels.dtype.itemsize > 1 else 8
    return pixels


def _distinct(pixels: np.ndarray) -> frozenset:
    """The distinct values (or colour triples) of pixels (..., channels), if there are few."""
    if pixels.ndim == 2:
        found = np.unique(pixels)
        return frozenset(found.tolist()) if len(found) <= _FEW else frozenset()
    # One number a colour: numpy sorts rows ten times slower.
    packed = sum(pixels[..., c].astype(np.int64) << 16 * c for c in range(min(3, pixels.shape[2])))
    found = np.unique(packed).tolist()
    if len(found) > _FEW:
        return frozenset()
    return frozenset((n & 0xFFFF, n >> 16 & 0xFFFF, n >> 32) for n in found)


def scan_image(path: str, backend_args: dict | None = None) -> ImageFacts:
    """Read one image file; never raises for a bad file."""
    facts = ImageFacts(path)
    data = _read(facts, backend_args)
    pixels = _decode(facts, data) if data else None
    if pixels is not None:
        # A grid of pixels tells a photo from a picture of labels, at no cost.
        facts.few_values = _distinct(pixels[::8, ::8])
    return facts


def scan_orientation(path: str) -> ImageFacts:
    """Read the header of a local image file alone; never raises for a bad file."""
    facts = ImageFacts(path)
    try:
        with Image.open(path) as picture:
            facts.width, facts.height = picture.size
            facts.mode, facts.file_format = picture.mode, picture.format or ""
            facts.orientation = int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception as error:  # which loading it shows
        facts.problem, facts.reason = "corrupt", str(error)
    return facts


def scan_mask(path: str, backend_args: dict | None = None) -> MaskFacts:
    """Read one mask file; never raises for a bad file."""
    facts = MaskFacts(path)
    data = _read(facts, backend_args)
    pixels = _decode(facts, data) if data else None
    if pixels is None:
        return facts
    if pixels.squeeze().ndim > 2:
        facts.is_colour = True
        facts.equal_channels = bool((pixels[..., :1] == pixels[..., :3]).all())
        facts.colours = _distinct(pixels[::4, ::4])
    elif pixels.dtype == np.uint8:
        counts = np.bincount(pixels.ravel(), minlength=256)
        facts.histogram = {int(v): int(counts[v]) for v in np.flatnonzero(counts)}
    else:
        values, counts = np.unique(pixels.astype(np.int64), return_counts=True)
        facts.histogram = dict(zip(values.tolist(), counts.tolist()))
    return facts


def _scan_chunk(tasks: Sequence[Task]) -> list[Facts]:
    # A huge picture is the user's business here, as it is in training.
    Image.MAX_IMAGE_PIXELS = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            (scan_image if kind == "image" else scan_mask)(path, backend_args)
            for kind, path, backend_args in tasks
        ]


def _run(tasks: Sequence[Task], workers: int) -> Iterator[list[Facts]]:
    chunks = [tasks[start : start + _CHUNK] for start in range(0, len(tasks), _CHUNK)]
    if workers <= 1 or len(chunks) < 2:
        yield from map(_scan_chunk, chunks)
        return
    # Forked workers start at once; others would each import torch for a job that does not need it.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    pool = ProcessPoolExecutor(
        min(workers, len(chunks)), mp_context=multiprocessing.get_context(method)
    )
    try:
        for future in as_completed([pool.submit(_scan_chunk, chunk) for chunk in chunks]):
            yield future.result()
    except BrokenProcessPool as error:
        raise DataError(
            "a worker that reads the files was killed, most likely for memory: use --workers 1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def scan_files(
    tasks: Iterable[Task], workers: int, report: Callable[[int, int], None] | None = None
) -> dict[tuple[str, str], Facts]:
    """Read files in parallel, each one once.

    Args:
        tasks: ('image' or 'mask', path, backend_args) of each file.
        workers: Processes; 1 reads in this one.
        report: Called with (files done, files in all).

    Returns:
        ('image' or 'mask', path) -> :class:`ImageFacts` or :class:`MaskFacts`.

    Raises:
        DataError: A worker was killed, most likely for memory.
    """
    unique = list({(kind, path): (kind, path, args) for kind, path, args in tasks}.values())
    found: dict[tuple[str, str], Facts] = {}
    for chunk in _run(unique, workers):
        for facts in chunk:
            found["mask" if isinstance(facts, MaskFacts) else "image", facts.path] = facts
        if report is not None:
            report(len(found), len(unique))
    return found
