# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Random labelled subsets of any data set, fixed by a seed."""

from __future__ import annotations

import math
import random
from fractions import Fraction

from mmseg.registry import TASK_UTILS

from ...errors import ConfigError
from .ids import Ids, LabeledUnlabeled


def parse_ratio(ratio: float | str) -> float:
    """A ratio as a number; ``'1/8'`` is what ``--cfg-options split.ratio=1/8`` passes.

    Raises:
        ConfigError: It does not lie in (0, 1].
    """
    try:
        number = float(Fraction(ratio))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        number = math.nan
    if not 0 < number <= 1:
        raise ConfigError(f"split.ratio must lie in (0, 1], such as 1/8 or 0.125, got {ratio!r}")
    return number


def _check_whole(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"split.{name} must be a whole number, got {value!r}")
    return value


class _SeededSplit:
    """A random labelled subset: the first ``n`` ids after a seeded shuffle of the sorted ids.

    Subsets of one seed are nested: a smaller one is contained in every larger one.
    """

    seed: int

    def _count(self, total: int) -> int:
        raise NotImplementedError

    def __call__(self, ids: Ids) -> LabeledUnlabeled:
        shuffled = sorted(ids)
        # Python's own generator: its shuffle is the same on every platform and version since 3.2.
        random.Random(self.seed).shuffle(shuffled)
        count = self._count(len(shuffled))
        return sorted(shuffled[:count]), sorted(shuffled[count:])


@TASK_UTILS.register_module()
class RatioSplit(_SeededSplit):
    """A fraction of the images keeps its masks.

    Args:
        ratio: Labelled share, 0 < ratio <= 1, as a number or as ``'1/8'``.
        seed: Seed of the shuffle.
        rounding: ``'floor'`` (as DST-CBC, AdvSemiSeg and s4GAN count; at least one image) or
            ``'ceil'`` (as CPS, UniMatch and U2PL count).
    """

    def __init__(self, ratio: float | str, seed: int = 0, rounding: str = "floor") -> None:
        if rounding not in ("floor", "ceil"):
            raise ConfigError(f"split.rounding must be 'floor' or 'ceil', got {rounding!r}")
        self.ratio, self.rounding = parse_ratio(ratio), rounding
        self.seed = _check_whole("seed", seed)

    def _count(self, total: int) -> int:
        # The tolerance keeps 0.1 * 30 = 3.0000000000000004 and 0.29 * 100 = 28.999... honest.
        if self.rounding == "ceil":
            return math.ceil(total * self.ratio - 1e-9)
        return max(1, int(total * self.ratio + 1e-9))


@TASK_UTILS.register_module()
class CountSplit(_SeededSplit):
    """A number of images keeps its masks.

    Args:
        count: Labelled images, at least 1.
        seed: Seed of the shuffle.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        if _check_whole("count", count) < 1:
            raise ConfigError(f"split.count must be at least 1, got {count}")
        self.count, self.seed = count, _check_whole("seed", seed)

    def _count(self, total: int) -> int:
        if self.count > total:
            raise ConfigError(f"split.count={self.count} but the data set has {total} images")
        return self.count


@TASK_UTILS.register_module()
class OverlappingPart:
    """One of two overlapping parts of a split's labelled images, for two models that shall differ (DMT).

    The labelled images are shuffled; the left part leaves out the last (1 - shared) / 2 of them, rounded up,
    the right part the first ones, so that both share the rest. The unlabelled images stay those of the split.

    Args:
        split: Config of the split.
        side: ``'left'`` or ``'right'``.
        shared: Share of the labelled images that is in both, in [0, 1].
        seed: Seed of the shuffle.
    """

    def __init__(self, split: dict, side: str, shared: float = 0.6, seed: int = 0) -> None:
        if side not in ("left", "right"):
            raise ConfigError(f"split.side must be 'left' or 'right', got {side!r}")
        if not 0 <= shared <= 1:
            raise ConfigError(f"split.shared must be in [0, 1], got {shared!r}")
        self.split, self.side, self.shared = TASK_UTILS.build(split), side, shared
        self.seed = _check_whole("seed", seed)
        self.allow_overlap = getattr(self.split, "allow_overlap", False)

    def __call__(self, ids: Ids) -> LabeledUnlabeled:
        labeled, unlabeled = self.split(ids)
        order = sorted(labeled)
        random.Random(self.seed).shuffle(order)
        own = math.ceil((1 - self.shared) / 2 * len(order) - 1e-9)
        part = order[: len(order) - own] if self.side == "left" else order[own:]
        return sorted(part), unlabeled
