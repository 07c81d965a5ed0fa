# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Pickled permutations, read without running anything that a pickle could name."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...utils.plain_pickles import load_plain_pickle
from .protocols import REFUSED_PERMUTATIONS

MAX_BYTES = 64 * 2**20


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
    content = load_plain_pickle(io.BytesIO(path.read_bytes()), str(path))
    if isinstance(content, list) and all(type(number) is int for number in content):
        found = content
    elif isinstance(content, np.ndarray) and content.ndim == 1 and content.dtype.kind in "iu":
        found = content.tolist()
    else:
        kind = getattr(content, "dtype", type(content).__name__)
        raise DataError(f"the pickle '{path}' holds no list of whole numbers, but {kind}")
    digest = hashlib.sha256(",".join(map(str, found)).encode()).hexdigest()
    if digest in REFUSED_PERMUTATIONS:
        raise DataError(f"the pickle '{path}' is {REFUSED_PERMUTATIONS[digest]}")
    if sorted(found) != list(range(len(found))):
        raise DataError(f"the pickle '{path}' is no permutation of 0..{len(found) - 1}")
    return found
