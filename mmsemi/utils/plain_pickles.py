# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Numbers out of pickles, without numpy's own unpickling.

numpy's ``ndarray``, ``dtype`` and their ``__setstate__`` trust what a file says: an array of objects
over raw bytes, or a data type with other flags, crashes the process and can be steered to run code.
The names by which pickles call them are bound to the stand-ins here, which take plain numbers only.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from ..errors import DataError

#: Booleans, whole, floating and complex numbers; no objects, texts, times and structures.
_CODE = re.compile(r"[<>=|]?(\?|[biufc]\d{1,2})")
_MAX_DIMS = 32


class PlainDtype:
    """Stands in for ``numpy.dtype``: a numeric type by its code, such as ``'f8'``.

    Attributes:
        value: The numpy type.
    """

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise pickle.UnpicklingError(f"it holds an array of type {code!r}, not of numbers")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Set the byte order; any other state belongs to no numeric type."""
        if not (isinstance(state, tuple) and len(state) == 8 and state[1] in tuple("<>=|")):
            raise pickle.UnpicklingError("it holds a numpy type that is none of plain numbers")
        if state[2:] != (None, None, None, -1, -1, 0):
            raise pickle.UnpicklingError("it holds a numpy type that is none of plain numbers")
        self.value = self.value.newbyteorder(state[1])


class PlainArray(np.ndarray):
    """Stands in for ``numpy.ndarray``; filled once, and pickled again as a plain array."""

    __array_priority__ = -1.0  # results of computations with other arrays are plain ones

    def __new__(cls, *args: Any, **kwargs: Any) -> PlainArray:
        """Refuse: a pickle makes arrays by ``_reconstruct`` only."""
        raise pickle.UnpicklingError("it calls numpy.ndarray")

    def __setstate__(self, state: Any) -> None:
        """Fill the empty array with (version, shape, type, is Fortran order, bytes)."""
        _, shape, dtype, is_fortran, data = state
        if isinstance(data, str):  # as Python 2 wrote it
            data = data.encode("latin1")
        legal = (
            self.shape == (0,)  # else another object may use the memory that would be replaced
            and type(dtype) is PlainDtype
            and type(data) is bytes
            and isinstance(shape, tuple)
            and len(shape) <= _MAX_DIMS
            and all(type(size) is int and size >= 0 for size in shape)
            and math.prod(shape) * dtype.value.itemsize == len(data)
        )
        if not legal:
            raise pickle.UnpicklingError("it holds an array that is none of plain numbers")
        super().__setstate__((1, shape, dtype.value, bool(is_fortran), data))

    def __reduce_ex__(self, protocol: int) -> Any:
        """Pickle as numpy does."""
        return self.view(np.ndarray).__reduce_ex__(protocol)


def reconstruct(kind: type, shape: Any, code: Any) -> PlainArray:
    """Stands in for numpy's ``_reconstruct``: an empty array, which ``__setstate__`` fills."""
    if kind is not PlainArray:
        raise pickle.UnpicklingError(f"it holds an array of class {kind!r}")
    return np.ndarray.__new__(PlainArray, (0,), np.int8)


def from_buffer(data: bytes, dtype: Any, shape: Any, order: Any, axes: Any = None) -> PlainArray:
    """Stands in for numpy's ``_frombuffer``, by which protocol 5 writes arrays."""
    if type(data) not in (bytes, bytearray) or order not in ("C", "F") or axes is not None:
        raise pickle.UnpicklingError("it holds an array that is none of plain numbers")
    array = reconstruct(PlainArray, (0,), "b")
    array.__setstate__((1, shape, dtype, order == "F", bytes(data)))
    return array


def make_scalar(dtype: PlainDtype, data: bytes | str) -> np.generic:
    """Stands in for numpy's ``scalar``: one number from its bytes."""
    if isinstance(data, str):
        data = data.encode("latin1")
    if type(dtype) is not PlainDtype or type(data) is not bytes:
        raise pickle.UnpicklingError("it holds a numpy scalar that is no number")
    if len(data) != dtype.value.itemsize:
        raise pickle.UnpicklingError(f"it holds a number of {len(data)} bytes as {dtype.value}")
    return np.frombuffer(data, dtype.value)[0]


def _encode(text: str, encoding: str) -> bytes:
    """Stands in for ``_codecs.encode``, by which protocol 2 writes bytes."""
    return text.encode({"latin1": "latin1"}[encoding])


#: What stands in for numpy's names, those of numpy 1 and 2.
STAND_INS: dict[str, Callable] = {
    "numpy.ndarray": PlainArray,
    "numpy.dtype": PlainDtype,
    **{f"numpy.{core}.multiarray._reconstruct": reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": make_scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": from_buffer for core in ("core", "_core")},
}


class _PlainUnpickler(pickle._Unpickler):
    """Knows numeric arrays and no other class or function.

    The one in Python: that in C reserves as much memory as a file asks for.
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """Refuse every name but those that numeric arrays need."""
        known = {**STAND_INS, "_codecs.encode": _encode}
        if f"{module}.{name}" not in known:
            raise pickle.UnpicklingError(f"it asks for '{module}.{name}'")
        return known[f"{module}.{name}"]

    def load_build(self) -> None:
        """Refuse to change anything but an array or its type."""
        if type(self.stack[-2]) not in (PlainArray, PlainDtype):
            raise pickle.UnpicklingError(f"it changes a {type(self.stack[-2]).__name__}")
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def load_plain_pickle(file: BinaryIO, where: str) -> Any:
    """Read a pickle of lists, dictionaries, texts, numbers and numeric arrays.

    Raises:
        DataError: It holds something else, or is damaged; nothing in it was executed.
    """
    try:
        return _PlainUnpickler(file, encoding="latin1").load()
    except Exception as error:  # a damaged pickle may raise almost anything
        raise DataError(
            f"the pickle '{where}' is refused, only numbers and numeric arrays are read: "
            f"{error or type(error).__name__}"
        ) from None
