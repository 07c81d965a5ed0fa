# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Class-balanced thresholds: how confident a pixel must be that a given share of its class is admitted.

DST-CBC (Feng et al., https://arxiv.org/abs/2004.08514v1), after CBST (Zou et al., ECCV 2018). Equations
and known answers: docs/methods/dst_cbc.md.

Decisions:

- The threshold of a class with the sorted confidences A of its sampled pixels, n of them, at a ratio r is
  the (j+1)-th largest, j = int(n r): j + 1 sampled pixels pass, and those that are equal.
- :class:`Histograms` keep counts, so memory does not grow with the images. Confidences crowd at 1, so bins
  are spaced in -log(1 - p): each halving of 1 - p is cut into 512 equal parts, which the bits of a
  float32 give without a logarithm, exactly and in order on every machine. A threshold is the lower edge of
  its bin; a few more pixels than exactly pass, at most those of one bin.
- :class:`SortedConfidences` keep every sampled confidence, for parity with the released codes.
- A class that no sampled pixel has gets the threshold 0 (released: an error, or 1e-5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError
from ..utils import derive_seed

RULES = ("ratio", "argmax")
SAMPLINGS = ("batch", "image", "random")

# A float32 has 23 bits of mantissa: 2^9 bins are kept of each power of two of 1 - p. Twice as many take
# twice as long to count, since they leave the processor's cache.
_SHIFT = 23 - 9
_ONE = np.int32(np.float32(1).view(np.int32) >> _SHIFT)
#: Powers of two of 1 - p that have bins of their own; below 2^-24 float32 knows only p = 1.
_OCTAVES = 25
_LEAST = np.float32(2.0**-_OCTAVES)
_LEAST_BITS = np.int32(_LEAST.view(np.int32) >> _SHIFT)
NUM_BINS = (_OCTAVES << 9) + 1


def _octave_bits(confidence: np.ndarray) -> np.ndarray:
    """Exponent and first bits of 1 - p, int32; those of 2^-25, less than any other 1 - p, for p = 1."""
    rest = np.subtract(np.float32(1), confidence, dtype=np.float32)
    bits = np.maximum(rest, _LEAST, out=rest).view(np.int32)
    bits >>= _SHIFT
    return bits


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """Bin 0 (p = 0) to ``NUM_BINS`` - 1 (p = 1) of float32 confidences in [0, 1], int32."""
    return _ONE - _octave_bits(confidence)


def lower_edge(number: int) -> float:
    """The least float32 confidence of a bin."""
    if number >= NUM_BINS - 1:
        return 1.0
    # The largest 1 - p whose bits give the bin.
    largest = np.int32(((int(_ONE) - number + 1) << _SHIFT) - 1).view(np.float32)
    edge = np.float32(1) - min(largest, np.float32(1))
    while bin_of(np.asarray([edge], np.float32))[0] < number:
        edge = np.nextafter(edge, np.float32(1))
    return float(edge)


class Confidences(Protocol):
    """Sampled confidences by class."""

    num_classes: int

    def add(self, label: np.ndarray, confidence: np.ndarray) -> None:
        """Add sampled pixels: class and float32 confidence, (P,) each."""

    def counts(self) -> list[int]:
        """How many sampled pixels each class has."""

    def largest(self, number: int, rank: int) -> float:
        """The confidence of a class with so many larger ones, 0 for the largest; -1: the smallest."""


class Histograms:
    """Counts of confidences by class and bin; memory does not depend on how many were added.

    Args:
        num_classes: Classes.
        per_class: False: one threshold for all.
    """

    def __init__(self, num_classes: int, per_class: bool = True) -> None:
        self.num_classes = num_classes if per_class else 1
        self.bins = np.zeros((self.num_classes, NUM_BINS), np.int64)
        # Counts since the last look at them, in the order of the bits: as int32 they stay in the cache.
        self._recent = torch.zeros(self.bins.size + int(_LEAST_BITS), dtype=torch.int32)
        self._num_recent = 0
        self._ones = torch.ones(0, dtype=torch.int32)

    def add(self, label: np.ndarray, confidence: np.ndarray) -> None:
        """Add sampled pixels: class and float32 confidence, (P,) each."""
        code = _octave_bits(confidence)
        if self.num_classes > 1:
            code += np.multiply(label, NUM_BINS, dtype=np.int32)
        if self._num_recent + len(code) >= 1 << 31:
            self._count()
        if len(self._ones) < len(code):
            self._ones = torch.ones(len(code), dtype=torch.int32)
        ones = self._ones.narrow(0, 0, len(code))
        self._recent.index_add_(0, torch.from_numpy(code), ones)
        self._num_recent += len(code)

    def _count(self) -> None:
        if self._num_recent:
            by_bits = self._recent[int(_LEAST_BITS) :].view(self.bins.shape)
            self.bins += by_bits.numpy()[:, ::-1]
            self._recent.zero_()
            self._num_recent = 0

    def counts(self) -> list[int]:
        """How many sampled pixels each class has."""
        self._count()
        return self.bins.sum(1).tolist()

    def largest(self, number: int, rank: int) -> float:
        """The lower edge of the bin of the confidence with ``rank`` larger ones; -1: the smallest."""
        self._count()
        row = self.bins[number]
        if rank < 0:
            return lower_edge(int(np.flatnonzero(row)[0]))
        above = np.cumsum(row[::-1])
        return lower_edge(NUM_BINS - 1 - int(np.searchsorted(above, rank, side="right")))

    def state(self) -> dict[str, np.ndarray]:
        """What :meth:`merge` adds to other histograms; small, since most bins are empty."""
        self._count()
        flat = self.bins.ravel()
        where = np.flatnonzero(flat)
        return dict(where=where, count=flat[where])

    def merge(self, state: dict[str, np.ndarray]) -> None:
        """Add the counts of other ones."""
        self.bins.ravel()[state["where"]] += state["count"]


class SortedConfidences:
    """Every confidence; memory grows by 5 bytes a sampled pixel. The arguments are those of Histograms."""

    def __init__(self, num_classes: int, per_class: bool = True) -> None:
        self.num_classes = num_classes if per_class else 1
        self._labels: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._sorted: list[np.ndarray] | None = None

    def add(self, label: np.ndarray, confidence: np.ndarray) -> None:
        """Add sampled pixels: class and float32 confidence, (P,) each."""
        label = np.zeros_like(label) if self.num_classes == 1 else label
        self._labels.append(label.astype(np.uint8))
        self._values.append(confidence.astype(np.float32))
        self._sorted = None

    def _classes(self) -> list[np.ndarray]:
        if self._sorted is None:
            state = self.state()
            parts = (state["value"][state["label"] == c] for c in range(self.num_classes))
            self._sorted = [np.sort(part) for part in parts]
        return self._sorted

    def counts(self) -> list[int]:
        """How many sampled pixels each class has."""
        return [len(part) for part in self._classes()]

    def largest(self, number: int, rank: int) -> float:
        """The confidence with ``rank`` larger ones; -1: the smallest."""
        return float(self._classes()[number][0 if rank < 0 else -rank - 1])

    def state(self) -> dict[str, np.ndarray]:
        """What :meth:`merge` adds to other ones."""
        if not self._values:
            return dict(label=np.zeros(0, np.uint8), value=np.zeros(0, np.float32))
        return dict(label=np.concatenate(self._labels), value=np.concatenate(self._values))

    def merge(self, state: dict[str, np.ndarray]) -> None:
        """Add those of other ones."""
        self._labels.append(state["label"])
        self._values.append(state["value"])
        self._sorted = None


def class_thresholds(
    confidences: Confidences, ratio: float, rule: str, num_classes: int
) -> list[float]:
    """The threshold of each class.

    Args:
        confidences: Of sampled pixels, by class or of all together.
        ratio: Share to admit, in (0, 1].
        rule: ``'ratio'`` (DST-CBC: all 0.0001 at a ratio of 1) or ``'argmax'`` (DMT: the smallest sampled
            confidence at a ratio of 1, 0.00001 where n r < 1).
        num_classes: Length of the result.

    Raises:
        ConfigError: The ratio is not in (0, 1], or there is no such rule.
    """
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 < ratio <= 1:
        raise ConfigError(f"the admitted ratio must be in (0, 1], got {ratio!r}")
    if rule not in RULES:
        raise ConfigError(f"the rule of assignment must be one of {', '.join(RULES)}, got {rule!r}")
    thresholds = []
    for number, count in enumerate(confidences.counts()):
        if count == 0:
            thresholds.append(0.0)
        elif ratio == 1:
            thresholds.append(1e-4 if rule == "ratio" else confidences.largest(number, -1))
        elif rule == "argmax" and count * ratio < 1:
            thresholds.append(1e-5)
        else:
            thresholds.append(confidences.largest(number, int(count * ratio)))
    return thresholds * num_classes if confidences.num_classes == 1 else thresholds


def assign(
    prob_CHW: Tensor, thresholds: Sequence[float], rule: str, ignore_index: int = 255
) -> tuple[Tensor, Tensor]:
    """Labels of an image, and the confidence of each.

    ``'argmax'`` (DMT): the likeliest class where its probability reaches its threshold. ``'ratio'``
    (DST-CBC, CBST): the class with the largest quotient of probability and threshold where that reaches 1,
    which may be another one than the likeliest. A class with the threshold 0, that no sampled pixel had,
    has no quotient: it is the label where it is the likeliest class.

    Args:
        prob_CHW: Probabilities, float32.
        thresholds: One a class.
        rule: ``'argmax'`` or ``'ratio'``.
        ignore_index: Label of pixels that are not admitted.

    Returns:
        (H, W) uint8 labels and (H, W) float32 probabilities of the class that would be the label, also where
        it is not admitted.
    """
    top_HW, class_HW = prob_CHW.max(0)
    limits_C = torch.as_tensor(thresholds, dtype=torch.float32, device=prob_CHW.device)
    if rule == "argmax":
        admitted_HW = top_HW >= limits_C[class_HW]
    else:
        is_free_HW = (limits_C == 0)[class_HW]
        quotient_CHW = prob_CHW / torch.where(limits_C == 0, torch.inf, limits_C)[:, None, None]
        best_HW, best_class_HW = quotient_CHW.max(0)
        class_HW = torch.where(is_free_HW, class_HW, best_class_HW)
        admitted_HW = is_free_HW | (best_HW >= 1)
        top_HW = prob_CHW.gather(0, class_HW[None])[0]
    label_HW = torch.where(admitted_HW, class_HW, ignore_index).to(torch.uint8)
    return label_HW, top_HW


class PixelSampler:
    """Which pixels of each image are looked at for the thresholds.

    ``'batch'`` (DST-CBC): every ``stride``-th of the flattened images of a batch one after the other.
    ``'image'`` (DMT): every ``stride``-th of each image. Both hit the same columns again and again where
    the width is a multiple of the stride. ``'random'``: as many, drawn anew for each image by the seed
    and the image's own number.

    Args:
        how: One of these.
        stride: Pixels to one that is looked at.
        seed: Of ``'random'``.

    Raises:
        ConfigError: There is no such sampling, or the stride is not at least 1.
    """

    def __init__(self, how: str = "random", stride: int = 16, seed: int = 0) -> None:
        if how not in SAMPLINGS:
            raise ConfigError(f"sampling={how!r} is none of {', '.join(SAMPLINGS)}")
        if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
            raise ConfigError(f"stride={stride!r} must be a whole number of at least 1")
        self.how, self.stride, self.seed = how, stride, seed

    def __call__(self, sizes: Iterable[int], numbers: Iterable[int]) -> list[np.ndarray]:
        """Indices of pixels of each image of a batch.

        Args:
            sizes: Pixels of each image.
            numbers: The image's own number in the data set.
        """
        chosen, position = [], 0
        for size, number in zip(sizes, numbers):
            if self.how == "random":
                generator = np.random.default_rng(derive_seed(self.seed, number))
                count = max(1, size // self.stride)
                chosen.append(np.sort(generator.choice(size, count, replace=False)))
                continue
            first = -position % self.stride if self.how == "batch" else 0
            chosen.append(np.arange(first, size, self.stride))
            position += size
        return chosen
