# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""ST++: which images are stable, by the agreement of earlier checkpoints of a training with its last one.

Yang et al., *ST++: Make Self-training Work Better for Semi-supervised Semantic Segmentation*, CVPR 2022,
https://arxiv.org/abs/2106.05095. Equations and known answers: docs/methods/st_plus_plus.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from ..errors import ConfigError


def copy_iterations(length: int, copies: int) -> list[int]:
    """The iterations whose checkpoints are compared: floor(k T / K), k = 1 ... K.

    Raises:
        ConfigError: There are fewer than 2, or the training is too short for them.
    """
    if not isinstance(copies, int) or copies < 2:
        raise ConfigError(f"self_training.images.checkpoints={copies!r} must be at least 2")
    if length < copies:
        raise ConfigError(
            f"self_training.images.checkpoints={copies}: the baseline has {length} iterations"
        )
    return [k * length // copies for k in range(1, copies + 1)]


def mean_iou(first_HW: np.ndarray, last_HW: np.ndarray, num_classes: int) -> float:
    """Agreement of two label maps: mean IoU of the classes that are in one of them, in [0, 1]."""
    pairs = first_HW.astype(np.int64).ravel() * num_classes + last_HW.ravel()
    table = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    hits = np.diag(table)
    union = table.sum(0) + table.sum(1) - hits
    return float(np.mean(hits[union > 0] / union[union > 0]))


def agreements(maps_KHW: Sequence[np.ndarray], num_classes: int) -> list[float]:
    """m_1 ... m_(K-1): agreement of each earlier label map with the last one; r is their mean."""
    return [mean_iou(one_HW, maps_KHW[-1], num_classes) for one_HW in maps_KHW[:-1]]


def order_by_reliability(scores: Mapping[str, float], by_list: bool = False) -> list[str]:
    """Ids, the most reliable first.

    Args:
        scores: r of each image.
        by_list: Equal images stay in the order of ``scores`` (as released); else they go by name, so that
            nothing depends on the order of a list.
    """
    if by_list:
        return sorted(scores, key=lambda name: -scores[name])
    return sorted(scores, key=lambda name: (-round(scores[name], 12), name))


def count_of_share(share: float | str, total: int) -> int:
    """floor(share N) in exact decimal arithmetic: 0.57 of 100 are 57.

    Raises:
        ConfigError: The share is not in (0, 1].
    """
    try:
        exact = Fraction(str(share))
    except ValueError:
        exact = Fraction(0)
    if not 0 < exact <= 1:
        raise ConfigError(f"self_training.images.shares: {share!r} must be in (0, 1]")
    return int(exact * total)
