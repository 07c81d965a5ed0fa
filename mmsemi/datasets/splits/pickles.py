# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Pickled permutations, read without running anything that a pickle could name.

``pickle.load`` calls whatever a file asks for. Published split pickles need three numpy names and no
other; every other name is refused before it is looked up.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from .protocols import REFUSED_PERMUTATIONS

MAX_BYTES = 64 * 2**20
_RECONSTRUCT = np.zeros(0).__reduce__()[0]  # its module has another name in numpy 1 and 2


def _integer_dtype(*args: Any) -> np.dtype:
    dtype = np.dtype(*args)
    if dtype.kind not in "iu":
        raise pickle.UnpicklingError(f"it holds an array of {dtype}, not of whole numbers")
    return dtype


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _integer_dtype,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Knows numpy's integer arrays and no other class or function."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse every name but those that an integer array needs."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for '{module}.{name}'")
        return _ALLOWED[module, name]


def read_permutation(path: str | os.PathLike) -> list[int]:
    """Read a pickled permutation of 0..n-1: a numpy integer array or a list of whole numbers.

    Raises:
        DataError: It does not exist, or is no such pickle, or one that is known to name no images.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"the pickle '{path}' does not exist")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"'{path}' is larger than {MAX_BYTES >> 20} MiB: no permutation")
    try:
        content = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        numbers = np.asarray(content)
    except Exception as error:  # a damaged pickle may raise almost anything
        raise DataError(
            f"the pickle '{path}' is refused, only whole numbers in a list or a numpy array are read: "
            f"{error}"
        ) from None
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise DataError(f"the pickle '{path}' holds no list of whole numbers")
    found = numbers.tolist()
    digest = hashlib.sha256(",".join(map(str, found)).encode()).hexdigest()
    if digest in REFUSED_PERMUTATIONS:
        raise DataError(f"the pickle '{path}' is {REFUSED_PERMUTATIONS[digest]}")
    if sorted(found) != list(range(len(found))):
        raise DataError(f"the pickle '{path}' is no permutation of 0..{len(found) - 1}")
    return found
