# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Kinds of images by what they look like: which to label, and which kind the labels miss.

Shape suffixes: N images, F features, K clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .pictures import Looks

#: A kind counts if it has at least this share of the unlabelled images, ...
MIN_SHARE = 0.05
#: ... and is missed if its share of the labelled images is below this part of that, and there are ...
MISSED_PART = 0.5
#: ... fewer labelled images of it than this. Measured on nuclei: docs/own_data.md.
FEW = 2
#: Clusters apart by less (mean silhouette) are no kinds: one cloud of images cut into pieces.
APART = 0.5
# Images that decide how many kinds there are; more would only take longer.
_SAMPLE = 1000


def cluster(features_NF: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """k-means by OpenCV, seeded: the cluster of each image (N,), and the centres (K, F)."""
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 100, 1e-6)
    _, labels, centres_KF = cv2.kmeans(
        np.ascontiguousarray(features_NF, np.float32), count, None, stop, 10, cv2.KMEANS_PP_CENTERS
    )
    return labels.ravel(), centres_KF


def distances(one_NF: np.ndarray, other_MF: np.ndarray) -> np.ndarray:
    """Euclidean distances (N, M)."""
    squares = (one_NF**2).sum(1)[:, None] + (other_MF**2).sum(1)[None] - 2 * one_NF @ other_MF.T
    return np.sqrt(np.maximum(squares, 0))


# --- Which to label -------------------------------------------------------------------------------


@dataclass
class Choice:
    """An image to label.

    Attributes:
        path: The image.
        stands_for: How many images look like it.
    """

    path: str
    stands_for: int


def choose(looks: Looks, count: int) -> list[Choice]:
    """The image nearest to the centre of each of ``count`` clusters, those of large ones first."""
    count = min(count, len(looks.paths))
    labels, centres_KF = cluster(looks.features_NF, count)
    nearest = distances(centres_KF, looks.features_NF).argmin(1)
    sizes = np.bincount(labels, minlength=count)
    chosen: dict[int, int] = {}
    for index, size in zip(nearest.tolist(), sizes.tolist()):
        chosen[index] = chosen.get(index, 0) + size
    order = sorted(chosen, key=lambda index: (-chosen[index], looks.paths[index]))
    return [Choice(looks.paths[index], chosen[index]) for index in order]


# --- Which kind is missed -------------------------------------------------------------------------


def silhouette(features_NF: np.ndarray, labels: np.ndarray) -> float:
    """How far clusters are apart, the mean of (b - a) / max(a, b) (Rousseeuw 1987); 0 for one cluster.

    a is an image's mean distance to its own cluster, b that to the nearest other one.
    """
    present, labels = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return 0.0
    apart = distances(features_NF, features_NF)
    sizes = np.bincount(labels)
    sums = np.stack([apart[:, labels == k].sum(1) for k in range(len(present))], 1)
    rows = np.arange(len(labels))
    own = sums[rows, labels] / np.maximum(sizes[labels] - 1, 1)
    means = sums / sizes
    means[rows, labels] = np.inf
    other = means.min(1)
    scores = (other - own) / np.maximum(np.maximum(own, other), 1e-12)
    return float(np.where(sizes[labels] > 1, scores, 0).mean())


def find_kinds(features_NF: np.ndarray, most: int = 4) -> np.ndarray:
    """The kind of each image (N,): the clusters that are farthest apart, or one kind for all."""
    if len(features_NF) < 4 * most:
        return np.zeros(len(features_NF), int)
    step = -(-len(features_NF) // _SAMPLE)
    sample = features_NF[::step]
    tried = []
    for count in range(2, most + 1):
        labels, centres_KF = cluster(sample, count)
        tried.append((silhouette(sample, labels), centres_KF))
    apart, centres_KF = max(tried, key=lambda one: one[0])
    if apart < APART:
        return np.zeros(len(features_NF), int)
    return distances(features_NF, centres_KF).argmin(1)


@dataclass
class Missed:
    """A kind of image that the labels hardly have.

    Attributes:
        labeled: Labelled images of it.
        share: Its share of the unlabelled images.
        examples: Some unlabelled images of it, the most typical first.
    """

    labeled: int
    share: float
    examples: list[str]


def missed_kinds(labeled: Looks, unlabeled: Looks, show: int = 3) -> list[Missed]:
    """Kinds that the unlabelled images hold and the labelled ones hardly do.

    Args:
        labeled: Looks of the labelled images.
        unlabeled: Looks of the unlabelled ones, made the same way.
        show: Examples of each.
    """
    if not labeled.paths or not unlabeled.paths:
        return []
    count = len(labeled.paths)
    features_NF = np.concatenate([labeled.features_NF, unlabeled.features_NF])
    kinds = find_kinds(features_NF)
    missed = []
    for kind in np.unique(kinds).tolist():
        members = np.flatnonzero(kinds[count:] == kind)
        own = int((kinds[:count] == kind).sum())
        share = len(members) / len(unlabeled.paths)
        if share >= MIN_SHARE and own < FEW and own / count < MISSED_PART * share:
            center_F = unlabeled.features_NF[members].mean(0, keepdims=True)
            order = distances(center_F, unlabeled.features_NF[members])[0].argsort()[:show]
            missed.append(Missed(own, share, [unlabeled.paths[members[i]] for i in order]))
    return missed
