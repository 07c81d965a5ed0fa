# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Hostile and damaged checkpoints: nothing in them runs, and none crashes the process."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from attempts import Runs
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmsemi.compat import load_checkpoint_file


def archive(content: bytes, **records: bytes) -> bytes:
    """A file of ``torch.save`` with this pickle inside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in {"data.pkl": content, "version": b"3\n", **records}.items():
            file.writestr(f"archive/{name}", data)
    return buffer.getvalue()


def saved(content: object, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


# --- Pickles by hand, in the opcodes that torch's reader knows ------------------------------------


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def value(content: object) -> bytes:
    """The opcodes of a plain value; bytes by way of ``_codecs.encode``, as protocol 2 has them."""
    return pickle.dumps(content, protocol=2)[2:-1]


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + b"(" + b"".join(arguments) + b"tR"


def build(instance: bytes, state: bytes) -> bytes:
    return instance + state + b"b"


def whole(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


def row(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


MULTIARRAY = "numpy._core.multiarray"
NDARRAY, DTYPE = name("numpy", "ndarray"), name("numpy", "dtype")
EMPTY = call(name(MULTIARRAY, "_reconstruct"), NDARRAY, value((0,)), value(b"b"))
DATA = bytes(range(64))


def dtype(code: str, state: tuple | None = None) -> bytes:
    made = call(DTYPE, value(code), value(False), value(True))
    return made if state is None else build(made, value(state))


def array(kind: bytes, shape: tuple = (8,), data: bytes = DATA, made: bytes = EMPTY) -> bytes:
    return build(made, row(value(1), value(shape), kind, value(False), value(data)))


F8 = dtype("f8", (3, "<", None, None, None, -1, -1, 0))
SCALAR = name(MULTIARRAY, "scalar")

NUMPY = {
    "an array of objects over raw bytes": array(dtype("O8")),
    "an array of objects by its other names": array(dtype("object")),
    "numbers whose flags say that they are objects": array(
        dtype("f8", (3, "<", None, None, None, -1, -1, 63))
    ),
    "a type with fields outside of its items": array(
        dtype("V8", (3, "|", None, ("a",), {"a": (1, 10**6)}, 8, 1, 16))
    ),
    "a type of sub-arrays": array(dtype("f8", (3, "<", ("f8", (10**6,)), None, None, -1, -1, 0))),
    "a type of another size": array(dtype("f8", (3, "<", None, None, None, 10**6, 1, 0))),
    "a structured type": array(dtype("f8,O")),
    "raw memory": array(dtype("V8")),
    "text": array(dtype("U2")),
    "dates": array(dtype("M8[ns]")),
    "more items than bytes": array(F8, shape=(10**9,)),
    "fewer than no items": array(F8, shape=(-8, -1)),
    "sizes whose product overflows": array(F8, shape=(2**62, 2**3, 2)),
    "an array that is filled twice": array(F8, made=array(F8)),
    "no type at all": array(value("f8")),
    "ndarray called with a buffer": call(NDARRAY, value((8,)), value("O"), value(DATA)),
    "ndarray called with strides": call(
        NDARRAY, value((8,)), value("f8"), value(DATA), value(0), value((10**6,))
    ),
    "ndarray by __new__": NDARRAY + value(((8,), "O")) + b"\x81",
    "an array of another class": call(
        name(MULTIARRAY, "_reconstruct"), name("torch", "Tensor"), value((0,)), value(b"b")
    ),
    "a scalar that is an object": call(SCALAR, dtype("O8"), value(DATA[:8])),
    "a scalar of too few bytes": call(SCALAR, F8, value(b"\0")),
}
CODE = {
    "os.system": lambda world: saved({"meta": Runs(os.system, world.shell)}),
    "exec among the weights": lambda world: saved(
        {"state_dict": {"w": Runs(exec, f"import os; os.system({world.shell!r})")}}
    ),
    "subprocess": lambda world: saved([Runs(subprocess.run, ["touch", str(world.mark)])]),
    "the format before zip": lambda world: saved(
        Runs(os.system, world.shell), _use_new_zipfile_serialization=False
    ),
    "a bare pickle": lambda world: pickle.dumps(Runs(os.system, world.shell)),
    "getattr": lambda world: saved({"x": Runs(getattr, HistoryBuffer, "__init__")}),
    "a module's import": lambda world: archive(whole(name("evil_module", "run"))),
    "a call through a history buffer": lambda world: archive(
        whole(
            call(
                call(
                    name("builtins", "getattr"),
                    name("mmengine.logging.history_buffer", "HistoryBuffer"),
                    value("max"),
                ),
                value(1),
            )
        )
    ),
    "numpy's own loader": lambda world: archive(whole(name("numpy", "load"))),
}
GOOD = saved({"state_dict": {"w": torch.arange(4000.0)}, "meta": {"iter": 1}})
DAMAGED = {
    "empty": b"",
    "one byte": b"P",
    "text": b"hello\n" * 100,
    "another text": b"iter_5.pth is the best one\n",
    "a web page": b"<!DOCTYPE html><html>404</html>",
    "half": GOOD[: len(GOOD) // 2],
    "without its end": GOOD[:-100],
    "a bit of a weight": GOOD[:8000] + bytes([GOOD[8000] ^ 1]) + GOOD[8001:],
    "a bit of the pickle": GOOD.replace(b"state_dict", b"state_dicu", 1),
    "zeros": bytes(5000),
    "a zip of nothing": b"PK\x05\x06" + bytes(18),
    "a zip without a pickle": archive(b"").replace(b"data.pkl", b"date.pkl"),
    "a tensor of a petabyte": archive(whole(call(name("torch", "Tensor"), value(2**50)))),
    "an unknown opcode": archive(b"\x80\x02\xff."),
    "an absent memo": archive(whole(b"h\x07")),
    "no stop": archive(b"\x80\x02]"),
    "a record with another folder's name": archive(b"\x80", **{"../../precious.pth": b"x"}),
}


@pytest.mark.parametrize("case", NUMPY)
def test_numpy_in_a_checkpoint_is_numbers_only(world, case):
    path = world.here / "bad.pth"
    path.write_bytes(archive(whole(row(NUMPY[case]))))

    def read() -> None:
        repr(load_checkpoint_file(str(path)))

    world.refuses(read, "bad.pth")


@pytest.mark.parametrize("case", CODE)
def test_code_in_a_checkpoint_is_not_run(world, case):
    path = world.here / "bad.pth"
    path.write_bytes(CODE[case](world))
    world.refuses(lambda: CheckpointLoader.load_checkpoint(str(path)), "bad.pth")


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_checkpoint_is_one_line(world, case):
    path = world.here / "bad.pth"
    path.write_bytes(DAMAGED[case])
    world.refuses(lambda: CheckpointLoader.load_checkpoint(str(path)), "bad.pth")


def test_lists_in_lists_are_only_that(world):
    path = world.here / "deep.pth"
    path.write_bytes(archive(whole(b"]" * 200_000 + b"a" * 199_999)))
    assert world.attempt(lambda: load_checkpoint_file(str(path))).kind in ("read", "refused")


def test_numbers_come_back_as_numpy_wrote_them(tmp_path):
    content = dict(
        floats=np.arange(6.0).reshape(2, 3),
        fortran=np.asfortranarray(np.arange(6).reshape(2, 3)),
        big=np.arange(4, dtype=">i4"),
        small=np.float16([1.5]),
        truth=np.array(True),
        complex=np.array([1 + 2j]),
        scalar=np.float64(0.25),
        count=np.int64(7),
    )
    path = tmp_path / "good.pth"
    for _ in range(2):  # what was read is written as numpy itself would
        torch.save(content, path)
        found = load_checkpoint_file(str(path))
        for key, expected in content.items():
            # In the machine's own byte order, as numpy reads them.
            expected = expected.astype(expected.dtype.newbyteorder("="))
            np.testing.assert_array_equal(found[key], expected, strict=True)
        content = found
    assert type(found["floats"] + np.zeros((2, 3))) is np.ndarray


def test_older_and_unsummed_files_are_read(tmp_path):
    path = Path(tmp_path, "old.pth")
    torch.save({"w": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    assert load_checkpoint_file(str(path))["w"].sum() == 3
    with open(path, "rb") as file:
        assert load_checkpoint_file(file)["w"].sum() == 3
    assert load_checkpoint_file(io.BytesIO(GOOD))["meta"] == {"iter": 1}
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(3)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert load_checkpoint_file(str(path))["w"].sum() == 3
