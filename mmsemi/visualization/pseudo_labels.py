# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Pictures of pseudo-labels: pure functions from arrays to one RGB picture.

Shape suffixes: H rows, W columns, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from .report import VOID_COLOR

MIN_TILE = 160  # px; captions need this width
MAX_TILE = 480
CAPTION = 18
GAP = 4


def paint_labels(labels_HW: np.ndarray, palette_K3: Sequence[Sequence[int]]) -> np.ndarray:
    """Colours (H, W, 3) uint8 of labels; values that are no class get the void colour."""
    table = np.full((256, 3), VOID_COLOR, np.uint8)
    table[: len(palette_K3)] = palette_K3
    return table[np.clip(labels_HW, 0, 255)]


def paint_confidence(confidence_HW: np.ndarray) -> np.ndarray:
    """Heat map (H, W, 3) uint8 of values in [0, 1]: dark blue is 0, yellow is 1."""
    grey = np.round(np.clip(confidence_HW, 0, 1) * 255).astype(np.uint8)
    return cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS)[..., ::-1]


def _write(picture: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)


def _tile(picture: np.ndarray, caption: str) -> np.ndarray:
    """A picture under its caption, enlarged in whole steps or reduced to a readable size."""
    height, width = picture.shape[:2]
    if width < MIN_TILE:
        factor = -(-MIN_TILE // width)
        picture = picture.repeat(factor, 0).repeat(factor, 1)
    elif width > MAX_TILE:
        size = (MAX_TILE, round(height * MAX_TILE / width))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
    tile = np.full((picture.shape[0] + CAPTION, picture.shape[1], 3), 255, np.uint8)
    tile[CAPTION:] = picture
    _write(tile, caption, 1, CAPTION - 5)
    return tile


def _legend(
    classes: Sequence[str], palette: Sequence[Sequence[int]], shares: Sequence[float], width: int
) -> np.ndarray:
    """Swatches with the name of each class and its share of all pixels, then 'not kept'."""
    names = [f"{name} {share:.1%}" for name, share in zip(classes, shares)]
    entries = list(zip(names, palette)) + [(f"not kept {1 - sum(shares):.1%}", VOID_COLOR)]
    step = max(len(text) for text, _ in entries) * 7 + 26
    columns = max(1, width // step)
    rows = -(-len(entries) // columns)
    picture = np.full((rows * CAPTION + GAP, width, 3), 255, np.uint8)
    for number, (text, colour) in enumerate(entries):
        y, x = divmod(number, columns)
        top, left = y * CAPTION + GAP, x * step + GAP
        cv2.rectangle(picture, (left, top), (left + 12, top + 11), (90, 90, 90), 1)
        picture[top + 1 : top + 11, left + 1 : left + 12] = colour
        _write(picture, text, left + 17, top + 10)
    return picture


def pseudo_label_panel(
    rows: Sequence[Mapping[str, np.ndarray]],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    shares: Sequence[float],
    ignore_index: int = 255,
) -> np.ndarray:
    """One picture of several samples, a row each, over a legend.

    Args:
        rows: Each with ``image`` and ``student`` (H, W, 3) uint8 RGB, ``label`` and ``target``
            (H, W) integers, ``confidence`` (H, W) in [0, 1] and, where it is known, ``truth``
            (H, W), the mask of ``image``.
        classes: Class names.
        palette: Their colours.
        shares: Share of each class in all target pixels, for the legend.
        ignore_index: Value of target pixels that are not kept, and of truth without a label.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    with_truth = any("truth" in row for row in rows)
    pictures = []
    for row in rows:
        kept = (row["target"] != ignore_index).mean()
        tiles = [
            _tile(row["image"], "image"),
            _tile(paint_labels(row["label"], palette), "weak label"),
            _tile(
                paint_confidence(row["confidence"]),
                f"confidence, mean {row['confidence'].mean():.2f}",
            ),
            _tile(row["student"], "student's view"),
            _tile(paint_labels(row["target"], palette), f"target, {kept:.1%} kept"),
        ]
        if with_truth:
            truth = row.get("truth", np.full_like(row["label"], ignore_index))
            known = truth != ignore_index
            caption = "truth: unknown"
            if known.any():
                caption = f"truth, {(row['label'] == truth)[known].mean():.1%} right"
            tiles.append(_tile(paint_labels(truth, palette), caption))
        gap = np.full((tiles[0].shape[0], GAP, 3), 255, np.uint8)
        pictures.append(np.hstack([part for tile in tiles for part in (tile, gap)][:-1]))
    pictures.append(_legend(classes, palette, shares, pictures[0].shape[1]))
    return np.vstack(pictures)
