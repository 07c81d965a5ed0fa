# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Which labelled images are kept for validation, and which images look like them."""

from __future__ import annotations

import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from .pictures import Looks

#: Share of the labelled images that are held out.
SHARE = 0.2
#: Copies differ by at most this (root of the mean square, CIELAB of 8 bits) ...
MAX_RMS = 4.0
#: ... and correlate by at least this in lightness. Measured on nuclei and CamVid: docs/own_data.md.
MIN_CORRELATION = 0.98
_SEPARATORS = re.compile(r"[_\-. /]+")
# Seeds that are tried so that every class keeps a labelled image.
_SEEDS = 50


# --- Scenes ---------------------------------------------------------------------------------------


def find_scenes(names: Sequence[str]) -> list[str] | None:
    """The scene (sequence, patient, place) of each image, by folders and beginnings of names.

    The coarsest beginning, in parts between ``/ _ - .`` and blanks, that divides the images into at least
    three groups of two images on average, the largest with at most 60 %.

    Args:
        names: Paths below one folder, without suffix.

    Returns:
        None where no beginning does.
    """
    parts = [words_of(name) for name in names]
    for length in range(1, max(map(len, parts), default=1)):
        scenes = [" ".join(part[: min(length, len(part) - 1)]) for part in parts]
        counts = Counter(scenes)
        largest = max(counts.values())
        if 3 <= len(counts) <= len(names) / 2 and largest <= 0.6 * len(names):
            return scenes
    return None


def words_of(name: str) -> list[str]:
    """The parts of a name."""
    return [word for word in _SEPARATORS.split(name.replace("\\", "/")) if word]


def scene_names(paths: Sequence[str], root: str) -> list[str]:
    """Names for :func:`find_scenes`."""
    return [os.path.splitext(os.path.relpath(path, root))[0].replace("\\", "/") for path in paths]


# --- The split ------------------------------------------------------------------------------------


@dataclass
class Holdout:
    """Labelled images for training and for validation.

    Attributes:
        train: Their indices.
        val: The others'.
        scenes: The scenes in validation; none if it was drawn at random.
        seed: Of the draw.
    """

    train: list[int]
    val: list[int]
    scenes: list[str]
    seed: int


def hold_out(
    scenes: Sequence[str] | None,
    classes_of: Sequence[Collection[int]],
    copies: Sequence[int] | None = None,
) -> Holdout:
    """Hold out a fifth of the labelled images: whole scenes, or at random, copies together.

    The first seed of 0, 1, ... by which every class keeps a labelled image for training is taken; if none
    does, 0.

    Args:
        scenes: Of each image; None for none.
        classes_of: Classes in each image's mask.
        copies: Group of each image, by which copies are one.
    """
    count = len(classes_of)
    # As text of one length, so that their order is that of the numbers.
    keys = list(scenes) if scenes else [f"{one:09d}" for one in copies or range(count)]
    groups: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key].append(index)
    wanted = max(1, round(SHARE * count))
    present = set().union(*classes_of)
    first: Holdout | None = None
    for seed in range(_SEEDS):
        names = sorted(groups)
        random.Random(seed).shuffle(names)
        val: list[int] = []
        taken: list[str] = []
        for name in names[:-1]:  # one group is for training, whatever its size
            if len(val) >= wanted:
                break
            if not val or len(val) + len(groups[name]) <= 1.5 * wanted:
                val += groups[name]
                taken.append(name)
        train = sorted(set(range(count)) - set(val))
        found = Holdout(train, sorted(val), sorted(taken) if scenes else [], seed)
        first = first or found
        too_many = len(val) > max(1, count // 2)
        if not too_many and set().union(*(classes_of[index] for index in train)) == present:
            return found
    return first


# --- Copies ---------------------------------------------------------------------------------------


def copies_of(looks: Looks, others: Looks) -> dict[int, int]:
    """Images that are nearly the same as another one: index in ``looks`` -> index in ``others``.

    They are compared as 16x16 pictures, so an image that was saved anew, resized or is the next frame of
    a still camera counts.
    """
    found: dict[int, int] = {}
    if not looks.paths or not others.paths:
        return found
    flat_MF = _flat(others.prints_NGGC)
    light_MF = _normal(others.prints_NGGC)
    for start in range(0, len(looks.paths), 256):
        prints = looks.prints_NGGC[start : start + 256]
        flat_NF = _flat(prints)
        squares = (flat_NF**2).mean(1)[:, None] + (flat_MF**2).mean(1)[None]
        squares -= 2 * flat_NF @ flat_MF.T / flat_NF.shape[1]
        light_NF = _normal(prints)
        correlation = light_NF @ light_MF.T / light_NF.shape[1]
        # Of pictures without any structure, equal brightness is all that there is.
        is_flat = ~light_NF.any(1)[:, None] & ~light_MF.any(1)[None]
        near = (squares <= MAX_RMS**2) & ((correlation >= MIN_CORRELATION) | is_flat)
        for row in np.flatnonzero(near.any(1)).tolist():
            found[start + row] = int(np.where(near[row], squares[row], np.inf).argmin())
    return found


def groups_of_copies(looks: Looks) -> list[int]:
    """Group of each image, where copies are in one."""
    group = list(range(len(looks.paths)))
    for index in group[1:]:
        earlier = looks.chosen(range(index))
        for other in copies_of(looks.chosen([index]), earlier).values():
            group[index] = group[other]
    return group


def _flat(prints_NGGC: np.ndarray) -> np.ndarray:
    return prints_NGGC.reshape(len(prints_NGGC), -1).astype(np.float32)


def _normal(prints_NGGC: np.ndarray) -> np.ndarray:
    """Lightness with mean 0 and deviation 1; zeros for a picture without structure."""
    light_NF = prints_NGGC[..., 0].reshape(len(prints_NGGC), -1).astype(np.float32)
    light_NF -= light_NF.mean(1, keepdims=True)
    deviation = light_NF.std(1, keepdims=True)
    return np.where(deviation > 0.5, light_NF / np.maximum(deviation, 1e-6), 0)
