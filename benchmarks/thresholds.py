# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Thresholds of many confidence maps: histograms beside sorting every sampled confidence.

    python -m benchmarks.thresholds                  # 10,000 maps of 321x321, 21 classes

Half of the maps are peaked above 0.999. Reported are processor time and peak memory of both ways, and the largest
difference of the admitted share of a class, in points.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator

import numpy as np

from mmsemi.self_training.thresholds import (
    Confidences,
    Histograms,
    SortedConfidences,
    class_thresholds,
)

RATIOS = (0.2, 0.4, 0.6, 0.8)


def sampled_maps(
    num_maps: int, size: int, num_classes: int, stride: int = 16
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Classes and confidences of every ``stride``-th pixel of each map."""
    generator = np.random.default_rng(0)
    count = -(-size * size // stride)
    for number in range(num_maps):
        label = generator.integers(0, num_classes, count, dtype=np.uint8)
        if number % 2:
            # 1 - p over four powers of ten below 0.001.
            confidence = 1 - 10 ** generator.uniform(-7, -3, count)
        else:
            confidence = generator.beta(4, 1.2, count) * (1 - 1 / num_classes) + 1 / num_classes
        yield label, confidence.astype(np.float32)


def _collect(kind: type[Confidences], maps: list, num_classes: int) -> tuple[list, float]:
    started = time.process_time()
    found = kind(num_classes)
    for label, confidence in maps:
        found.add(label, confidence)
    thresholds = [class_thresholds(found, ratio, "argmax", num_classes) for ratio in RATIOS]
    return thresholds, time.process_time() - started


def compare_rules(num_maps: int, size: int, num_classes: int) -> dict[str, float]:
    """Processor time of both ways, and how much the admitted shares differ.

    Returns:
        ``seconds_histogram``, ``seconds_sorted``, ``speedup``, and ``largest_difference`` in points.
    """
    maps = list(sampled_maps(num_maps, size, num_classes))
    ours, seconds = _collect(Histograms, maps, num_classes)
    exact, seconds_sorted = _collect(SortedConfidences, maps, num_classes)
    label = np.concatenate([one for one, _ in maps])
    confidence = np.concatenate([one for _, one in maps])
    largest = 0.0
    for number in range(num_classes):
        values = np.sort(confidence[label == number])
        for a, b in zip(ours, exact):
            shares = [
                1 - np.searchsorted(values, np.float32(k[number])) / len(values) for k in (a, b)
            ]
            largest = max(largest, 100 * abs(shares[0] - shares[1]))
    return dict(
        seconds_histogram=seconds,
        seconds_sorted=seconds_sorted,
        speedup=seconds_sorted / seconds,
        largest_difference=float(largest),
    )


def memory_of_histograms(num_maps: int, size: int, num_classes: int) -> float:
    """Growth of the process's peak memory in MiB while maps come one after the other."""
    for label, confidence in sampled_maps(2, size, num_classes):  # what the first draw imports
        Histograms(2).add(label % 2, confidence)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = Histograms(num_classes)
    for label, confidence in sampled_maps(num_maps, size, num_classes):
        found.add(label, confidence)
    class_thresholds(found, 0.2, "argmax", num_classes)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=321)
    parser.add_argument("--classes", type=int, default=21)
    args = parser.parse_args()
    # First, since the peak of a process never falls.
    result = dict(memory_mib=memory_of_histograms(args.maps, args.size, args.classes))
    result.update(compare_rules(args.maps, args.size, args.classes))
    print(json.dumps({key: round(value, 4) for key, value in result.items()}, indent=2))


if __name__ == "__main__":
    main()
