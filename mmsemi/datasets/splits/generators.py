# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The rules by which published splits were drawn, on any master list.

Each rule takes the master lists and its parameters and returns (labelled, unlabelled), in the order of
the published files where that order can be had. ``random.Random`` and not numpy: its ``shuffle`` and
``sample`` have given the same numbers on every Python since 3.2, and the authors used them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from typing import Any

from .ids import LabeledUnlabeled

# Returns the ids of a master list by its name.
Lookup = Callable[[str], list[str]]


def rest_of(master: Iterable[str], chosen: Iterable[str]) -> list[str]:
    """The ids of a list that are not chosen, in the list's order."""
    chosen = set(chosen)
    return [item for item in master if item not in chosen]


def shuffled(master: list[str], seed: int, count: int, fold: int = 0) -> LabeledUnlabeled:
    """First ``count`` ids and the rest; a further fold shuffles the previous fold's order again."""
    order, generator = list(master), random.Random(seed)
    for _ in range(fold + 1):
        generator.shuffle(order)
    return order[:count], order[count:]


DSTCBC_SEED = 7777


def dstcbc_count(total: int, divisor: float) -> int:
    """Labelled images of a DST-CBC list: rounded down, and one more if 8 leaves a remainder of 1.

    (A last batch of one image would break batch norm.)

    >>> dstcbc_count(10582, 20)
    530
    """
    count = int(total / divisor)
    return count + (count % 8 == 1)


def dstcbc(master: list[str], divisor: float, fold: int) -> LabeledUnlabeled:
    """DST-CBC: one seeded shuffle after the other, one for each fold; ratios of a fold are nested."""
    return shuffled(master, DSTCBC_SEED, dstcbc_count(len(master), divisor), fold)


DMT_DIVISORS = (8, 20, 50, 105.82)
DMT_SHARED = 0.6


def dmt(master: list[str], divisor: float, fold: int, side: str) -> LabeledUnlabeled:
    """One side of DMT's two overlapping parts of a DST-CBC labelled list.

    One generator runs through all folds and ratios, so those before the wanted one are drawn too.
    """
    generator = random.Random(DSTCBC_SEED)
    for current in range(fold + 1):
        for value in DMT_DIVISORS:
            labeled, unlabeled = dstcbc(master, value, current)
            generator.shuffle(labeled)
            if (current, value) == (fold, divisor):
                own = math.ceil((1 - DMT_SHARED) / 2 * len(labeled))
                left, right = labeled[: len(labeled) - own], labeled[own:]
                return (left if side == "left" else right), unlabeled
    raise ValueError(f"DMT has no lists for 1/{divisor} (known: {DMT_DIVISORS})")


def every_kth(master: list[str], every: int) -> LabeledUnlabeled:
    """CPS: ids 0, k, 2k, ... of the master list."""
    labeled = master[::every]
    return labeled, rest_of(master, labeled)


def sampled_set(master: list[str], count: int, seed: int) -> LabeledUnlabeled:
    """CAC on Cityscapes: sampled positions, in the order in which a set of them iterates."""
    chosen = set(random.Random(seed).sample(range(len(master)), count))
    labeled = [master[position] for position in chosen]
    return labeled, rest_of(master, labeled)


def sampled_sorted(master: list[str], count: int, seed: int) -> LabeledUnlabeled:
    """CAC's own list on VOC: sampled positions, labelled ids sorted."""
    chosen = random.Random(seed).sample(range(len(master)), count)
    labeled = sorted(master[position] for position in chosen)
    return labeled, rest_of(master, labeled)


def sampled(master: list[str], count: int, seed: int) -> list[str]:
    """U2PL: a sample of the ids, in the order of the draw."""
    return random.Random(seed).sample(master, count)


def _from_sample(get: Lookup, master: str, rest: str, count: int, seed: int) -> LabeledUnlabeled:
    labeled = sampled(get(master), count, seed)
    return labeled, rest_of(get(rest), labeled)


def _sample_then_given(
    get: Lookup, master: str, given: str, rest: str, count: int, seed: int
) -> LabeledUnlabeled:
    labeled = sampled(get(master), count, seed) + get(given)
    return labeled, rest_of(get(rest), labeled)


RULES: dict[str, Callable[..., LabeledUnlabeled]] = {
    "dstcbc": lambda get, master, **rest: dstcbc(get(master), **rest),
    "dmt": lambda get, master, **rest: dmt(get(master), **rest),
    "every_kth": lambda get, master, every: every_kth(get(master), every),
    "sampled_set": lambda get, master, **rest: sampled_set(get(master), **rest),
    "sampled_sorted": lambda get, master, **rest: sampled_sorted(get(master), **rest),
    "shuffled": lambda get, master, **rest: shuffled(get(master), **rest),
    "sampled": _from_sample,
    "sampled_then_given": _sample_then_given,
    "given": lambda get, master, rest: (get(master), rest_of(get(rest), get(master))),
    "everything": lambda get, master: (get(master), []),
    "everything_twice": lambda get, master: (get(master), get(master)),
}


def generate(generator: dict[str, Any], get: Lookup) -> LabeledUnlabeled:
    """Draw a split.

    Args:
        generator: ``rule``, a key of :data:`RULES`, and the rule's parameters.
        get: Returns the ids of a master list by its name.
    """
    parameters = {key: value for key, value in generator.items() if key != "rule"}
    return RULES[generator["rule"]](get, **parameters)
