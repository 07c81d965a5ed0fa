# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Hostile split pickles, lists, score tables, masks and images."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from attempts import Runs, World
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.models.losses.utils import get_class_weight
from PIL import Image
from test_security.test_checkpoints import NUMPY, call, name, row, value, whole

from mmsemi.datasets.checks.scan import scan_image, scan_mask
from mmsemi.datasets.converters.common import image_size, read_mask
from mmsemi.datasets.splits import read_id_list
from mmsemi.datasets.splits.pickles import read_permutation
from mmsemi.evaluation.score_table import ScoreTable

# --- Split pickles, and those of class weights ----------------------------------------------------

FUNCTION = name("numpy._core.multiarray", "_reconstruct")
PICKLES = {
    "os.system": lambda world: pickle.dumps(Runs(os.system, world.shell)),
    "an old one": lambda world: pickle.dumps(Runs(os.system, world.shell), protocol=0),
    "subprocess": lambda world: pickle.dumps([Runs(subprocess.run, ["touch", str(world.mark)])]),
    "in an array of objects": lambda world: np.array([Runs(os.system, world.shell)]).dumps(),
    "a module": lambda world: b"cevil_module\nrun\n.",
    "a module by its stack": lambda world: b"\x80\x04\x8c\x0bevil_module\x8c\x03run\x93.",
    "an instance": lambda world: f"(S'{world.shell}'\nios\nsystem\n.".encode(),
    "an extension": lambda world: b"\x80\x02\x82\x01.",
    "a persistent name": lambda world: b"Pevil_module\n.",
    "a function that is changed": lambda world: whole(
        FUNCTION + row(value({}), value({"__defaults__": (1,)})) + b"b"
    ),
    "a class that is changed": lambda world: whole(
        name("numpy", "dtype") + row(value({}), value({"value": 1})) + b"b"
    ),
    "bytes in another encoding": lambda world: whole(
        call(name("_codecs", "encode"), value("x"), value("evil_module"))
    ),
    "a memo of gigabytes": lambda world: b"\x80\x02]r\xff\xff\xff\x7f.",
    "a text of gigabytes": lambda world: b"\x80\x04\x8d\xff\xff\xff\xff\x0f\0\0\0x.",
    "lists by the billion": lambda world: (
        b"\x80\x02"
        + b"]q\0"
        + b"](h\0" * 1
        + b"".join(
            b"](" + b"".join(b"h" + bytes([n]) for _ in range(10)) + b"eq" + bytes([n + 1])
            for n in range(12)
        )
        + b"."
    ),
    "a list in itself": lambda world: b"\x80\x02]q\0h\0a.",
    "lists in lists": lambda world: b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "half": lambda world: pickle.dumps(np.arange(100))[:60],
    "text": lambda world: b"hello\n",
    "nothing": lambda world: b"",
}


@pytest.mark.parametrize("case", PICKLES)
def test_a_pickle_runs_nothing(world: World, case):
    path = world.here / "split.pkl"
    path.write_bytes(PICKLES[case](world))
    for read in (read_permutation, get_class_weight):
        outcome = world.attempt(lambda read=read: read(str(path)))
        # A list is read, wherever its pickle says that it is to be remembered.
        expected = ("refused", "read") if "list" in case or "memo" in case else ("refused",)
        assert outcome.kind in expected and "\n" not in outcome.text, outcome.text


@pytest.mark.parametrize("case", NUMPY)
def test_numpy_in_a_pickle_is_numbers_only(world: World, case):
    path = world.here / "split.pkl"
    path.write_bytes(whole(row(NUMPY[case])))
    world.refuses(lambda: read_permutation(path), "split.pkl")


def test_class_weights_of_a_pickle_are_read(tmp_path):
    path = tmp_path / "weights.pkl"
    for content in ([0.5, 2.0], np.array([0.5, 2.0])):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            path.write_bytes(pickle.dumps(content, protocol))
            assert list(get_class_weight(str(path))) == [0.5, 2.0]


# --- Lists ----------------------------------------------------------------------------------------

LISTS = {
    "binary": bytes(range(256)),
    "zero bytes": b"a\0b\n",
    "one endless line": b"a" * 2_000_000,
    "nothing": b"",
    "blank lines": b"\n \n\t\n",
    "UTF-16": "a\nb\n".encode("utf-16"),
    "a pickle": pickle.dumps(Runs(os.system, "true")),
    "an image twice": b"a\na\n",
}


@pytest.mark.parametrize("case", LISTS)
def test_a_list_is_names(world: World, case):
    path = world.here / "labeled.txt"
    path.write_bytes(LISTS[case])
    outcome = world.attempt(lambda: read_id_list(path))
    assert outcome.kind in ("read", "refused") and "\n" not in outcome.text, outcome.text


# --- Score tables ---------------------------------------------------------------------------------


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy(header: str) -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, data in files.items():
            archive.writestr(f"{key}.npy", data)
    return buffer.getvalue()


GOOD = dict(
    classes=np.array(["a"]), ids=np.array(["x"]), scores=np.ones((1, 1)), network="", split="null"
)
TABLES = {
    "objects.npz": lambda world: npz(
        **{**GOOD, "classes": np.array([Runs(os.system, world.shell)], object)}
    ),
    "pickle.npz": lambda world: pickle.dumps(Runs(os.system, world.shell)),
    "scores_of_objects.npz": lambda world: npz(
        **{**GOOD, "scores": np.array([[Runs(os.system, world.shell)]], object)}
    ),
    "huge.npz": lambda world: zipped(
        classes=npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,)}\n")
    ),
    "negative.npz": lambda world: zipped(
        classes=npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-5,)}\n")
    ),
    "header.npz": lambda world: zipped(classes=npy("__import__('os').system('x')\n")),
    "brackets.npz": lambda world: zipped(classes=npy("[" * 9000 + "\n")),
    "cut.npz": lambda world: npz(**GOOD)[:-40],
    "empty.npz": lambda world: b"",
    "text.npz": lambda world: b"hello\n",
    "code.json": lambda world: b"__import__('os').system('x')",
    "deep.json": lambda world: b"[" * 100_000 + b"]" * 100_000,
    "list.json": lambda world: b"[1, 2]",
    "binary.json": lambda world: bytes(range(256)),
    "types.json": lambda world: b'{"classes": [1], "scores": 3, "network": [], "split": 1}',
    "nan.json": lambda world: (
        b'{"classes": ["a"], "scores": {"x": [NaN]}, "network": "", "split": null}'
    ),
    "number.json": lambda world: b'{"classes": ["a"], "scores": {"x": [' + b"9" * 100_000 + b"]}}",
}


@pytest.mark.parametrize("file", TABLES)
def test_a_score_table_is_numbers(world: World, file):
    path = world.here / file
    path.write_bytes(TABLES[file](world))
    world.refuses(lambda: ScoreTable.load(path), file)


# --- Pictures -------------------------------------------------------------------------------------


def png(
    size_wh: tuple[int, int] = (4, 4), data: bytes | None = None, *, sums: bool = True
) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content) if sums else 0
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    width, height = size_wh
    data = zlib.compress(bytes((width + 1) * height)) if data is None else data
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def jpeg() -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def flipped(data: bytes, seed: int) -> bytes:
    damaged = bytearray(data)
    generator = np.random.default_rng(seed)
    for place in generator.integers(2, len(data), 10):
        damaged[place] ^= 1 << int(generator.integers(8))
    return bytes(damaged)


POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n(%pipe%touch x) (w) file\n"
    b"%%EOF\n"
)
PICTURES = {
    "PostScript": POSTSCRIPT,
    "a script": b"#!/bin/sh\ntouch x\n",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "a pickle": pickle.dumps(Runs(os.system, "true")),
    "nothing": b"",
    "a PNG's first bytes": png()[:8],
    "a PNG cut off": png((64, 64))[:60],
    "a PNG of too few pixels": png((64, 64), zlib.compress(b"\0" * 9)),
    "a PNG with wrong sums": png(sums=False),
    "a PNG of no size": png((0, 0)),
    "a PNG of four billion columns": png((2**31 - 1, 1), b""),
    "a PNG of damaged data": png((64, 64), b"hello"),
    "a GIF's head": b"GIF89a" + bytes(7),
    "a TIFF in itself": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    "a BMP of any size": b"BM"
    + bytes(12)
    + struct.pack("<IiiHHI", 40, -1, -1, 1, 24, 0)
    + bytes(20),
    **{f"a JPEG with flipped bits {seed}": flipped(jpeg(), seed) for seed in range(4)},
}


@pytest.mark.parametrize("case", PICTURES)
def test_a_picture_is_pixels(world: World, case):
    path = world.here / "picture.png"
    path.write_bytes(PICTURES[case])

    def read() -> None:
        scan_image(str(path)), scan_mask(str(path))

    assert world.attempt(read).kind == "read"
    for reader in (read_mask, image_size):
        outcome = world.attempt(lambda reader=reader: reader(Path(path)))
        assert outcome.kind in ("read", "refused") and "\n" not in outcome.text, outcome.text
    load = LoadAnnotations(imdecode_backend="pillow")
    sample = dict(seg_map_path=str(path), seg_fields=[], reduce_zero_label=False)
    assert world.attempt(lambda: load(sample)).kind in ("read", "raised")
