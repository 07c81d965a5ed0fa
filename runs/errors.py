# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Where the networks of rows are wrong on the validation images: at rims or elsewhere, and on which kind of image.

    python -m runs.errors nuclei weak all fixmatch --seed 1

Reads the last checkpoints below ``work_dirs/runs``. A pixel is at a rim if another class is at most :data:`RIM` pixels
away in the mask. The kind of an image is the labelled image that it is nearest to in colour (the features that
chose the labels: :mod:`.choose_labels`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from mmsemi.cli import run as run_command
from mmsemi.evaluation.class_iou_metric import class_iou, confusion_of
from mmsemi.utils.markdown import format_table
from mmsemi.visualization.report import VOID

from .choose_labels import colour_features
from .look import Images, image_score, label, labeled_images, read_models
from .rows import PROTOCOLS, Protocol

RIM = 2


def rims(mask_HW: np.ndarray) -> np.ndarray:
    """Which pixels have another class at most :data:`RIM` pixels away, bool (H, W); void counts as a class."""
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * RIM + 1,) * 2)
    return cv2.dilate(mask_HW, kernel) != cv2.erode(mask_HW, kernel)


def kinds(images: Sequence[Path], labeled: Sequence[Path]) -> np.ndarray:
    """Index of the labelled image that each image is nearest to in colour, (N,)."""
    features_NF, labeled_KF = colour_features(images), colour_features(labeled)
    return ((features_NF[:, None] - labeled_KF) ** 2).sum(-1).argmin(1)


def error_cells(
    pairs: Iterable[tuple[int, np.ndarray, np.ndarray]],
    classes: int,
    rare: Sequence[int],
    kinds: int,
) -> list[str]:
    """How a network is wrong, in percent.

    Args:
        pairs: Of each image its kind, the labels that the network gives (H, W) and the mask (H, W).
        classes: How many there are.
        rare: Those that are looked at.
        kinds: How many there are.

    Returns:
        The rare classes' pixels that are found, and their predicted pixels that are right, both means over classes;
        wrong pixels at rims and elsewhere, of all pixels; mIoU by kind.
    """
    confusion = np.zeros((kinds, classes, classes), np.int64)
    at_rims = 0
    for kind, labels, mask in pairs:
        confusion[kind] += confusion_of([image_score(labels, mask, classes)], classes)
        at_rims += int(((labels != mask) & (mask != VOID) & rims(mask)).sum())
    total = confusion.sum(0)
    hits, pixels = np.diag(total), total.sum()
    found, right = (hits / np.maximum(total.sum(axis), 1) for axis in (1, 0))
    elsewhere = pixels - hits.sum() - at_rims
    return [
        *(f"{100 * share[list(rare)].mean():.1f}" for share in (found, right)),
        *(f"{100 * count / pixels:.2f}" for count in (at_rims, elsewhere)),
        *(f"{np.nanmean(class_iou(one)):.1f}" if one.any() else "" for one in confusion),
    ]


def errors_table(protocol: Protocol, names: Sequence[str], seed: int) -> str:
    """A Markdown table of the errors of rows.

    Raises:
        DataError: A row has not run here.
    """
    models = read_models(protocol, names, seed)
    images, labeled = Images(protocol, "val"), labeled_images(protocol, names[0]).paths
    kind_of = kinds(images.paths, labeled)
    sizes = np.bincount(kind_of, minlength=len(labeled))
    rows = []
    for name, model in models.items():
        classes = model.dataset_meta["classes"]
        rare = [classes.index(one) for one in protocol.rare]
        pairs = (
            (kind, label(model, image)[0], mask)
            for kind, (image, mask) in zip(kind_of, images, strict=True)
        )
        cells = error_cells(pairs, len(classes), rare, len(labeled))
        rows.append([protocol.row(name).title, *cells])
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    head = [
        "method",
        "rare classes found",
        "predicted and right",
        "wrong at rims",
        "wrong elsewhere",
    ]
    return format_table(
        [*head, *(f"like {n}: {size} images" for n, size in enumerate(sizes, 1))], rows
    )


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Show where the networks of rows are wrong.")
    parser.add_argument("data", choices=PROTOCOLS)
    parser.add_argument("methods", nargs="+", help="rows that have run here")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(errors_table(PROTOCOLS[args.data], args.methods, args.seed), end="")
    return 0


if __name__ == "__main__":
    sys.exit(run_command("runs.errors", sys.argv[1:], "runs.errors"))
