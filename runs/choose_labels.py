# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Chooses which training images keep their masks in the runs on real images, and a hold-out for settings.

python runs/choose_labels.py FOLDER_OF_TRAINING_IMAGES OUT --labels 6 12 24 [--scenes]

Hold-out: every eighth image in the order of names; with ``--scenes``, where neighbours look alike, the last
eighth of every scene (the part of the name before the first underscore). Labels: means and deviations of
the colour channels (CIELAB) of the remaining images, k-means with as many clusters as labels, and the image
nearest to each centre, so that the list covers the kinds of image. No mask is read. Writes
``holdout.txt``, ``pool.txt`` (all the others) and, for each number N of labels, ``labels_N.txt``, and prints
their hashes.
"""

from __future__ import annotations

import argparse
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from mmsemi.datasets.splits import ids_sha256


def choose_holdout(names: list[str], scenes: bool) -> list[str]:
    """An eighth of the sorted names: every eighth one, or the last eighth of each scene."""
    if not scenes:
        return names[::8]
    groups = [list(group) for _, group in groupby(names, lambda name: name.split("_")[0])]
    return [name for group in groups for name in group[len(group) - len(group) // 8 :]]


def colour_features(paths: list[Path]) -> np.ndarray:
    """Mean and deviation of L, a and b of each image, float32 (N, 6), in units of 100."""
    features = []
    for path in paths:
        lab_HW3 = cv2.cvtColor(cv2.imread(str(path)).astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
        pixels_N3 = lab_HW3.reshape(-1, 3) / 100
        features.append(np.concatenate([pixels_N3.mean(0), pixels_N3.std(0)]))
    return np.stack(features)


def choose_labels(features_NF: np.ndarray, count: int) -> list[int]:
    """Indices of the images nearest to the centres of ``count`` clusters; seeded."""
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 100, 1e-6)
    _, _, centres_KF = cv2.kmeans(features_NF, count, None, stop, 20, cv2.KMEANS_PP_CENTERS)
    distance_KN = ((centres_KF[:, None] - features_NF) ** 2).sum(-1)
    return sorted(set(distance_KN.argmin(1).tolist()))


def main() -> None:
    """Write the lists."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", type=int, nargs="+", required=True, metavar="N")
    parser.add_argument(
        "--random", type=int, nargs="*", default=[], metavar="N", help="beside them"
    )
    parser.add_argument("--scenes", action="store_true", help="neighbours in a scene look alike")
    args = parser.parse_args()
    paths = {path.stem: path for path in sorted(args.images.glob("*.jpg"))}
    holdout = choose_holdout(list(paths), args.scenes)
    pool = [name for name in paths if name not in set(holdout)]
    features = colour_features([paths[name] for name in pool])
    lists = {"holdout": holdout, "pool": pool}
    for count in args.labels:
        lists[f"labels_{count}"] = [pool[index] for index in choose_labels(features, count)]
    for count in args.random:
        chosen = np.random.default_rng(0).permutation(len(pool))[:count]
        lists[f"random_{count}"] = [pool[index] for index in sorted(chosen)]
    args.out.mkdir(parents=True, exist_ok=True)
    for name, ids in lists.items():
        (args.out / f"{name}.txt").write_text("".join(f"{item}\n" for item in ids))
        print(f"{args.out / name}.txt: {len(ids)} images, sha256 {ids_sha256(ids)}")


if __name__ == "__main__":
    main()
