# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Colours of classes that have none of their own, and how labels lie over an image."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import cv2
import numpy as np

#: Okabe and Ito, Color Universal Design (2008), without black: told apart with any kind of colour blindness.
_OKABE_ITO = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
#: What is left of linear RGB without the cones for red, and for green (Machado et al. 2009, severity 1).
_BLIND = (
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
              [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
              [-0.011820, 0.042940, 0.968881]]),
)  # fmt: skip
_BACKGROUND = ("background", "_background_", "__background__", "bg", "back ground")


def is_background(name: str) -> bool:
    """Whether a class is what lies around the objects, by its name."""
    return name.strip().lower() in _BACKGROUND


def class_palette(classes: Sequence[str]) -> list[list[int]]:
    """A distinct colour (R, G, B) for each class; the background is black.

    The first seven are Okabe and Ito's. Each further one is, of a grid of colours, the farthest from all
    before it, for those who see all colours, no red, and no green alike.
    """
    named = [name for name in classes if not is_background(name)]
    colours = iter([*_OKABE_ITO, *_farthest(len(named) - len(_OKABE_ITO))])
    return [[0, 0, 0] if is_background(name) else list(next(colours)) for name in classes]


def _farthest(count: int) -> list[tuple[int, ...]]:
    if count <= 0:
        return []
    levels = np.arange(0, 256, 32).clip(max=255)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    seen_VNC = _as_seen(grid)
    taken = _as_seen(np.array([(0, 0, 0), (255, 255, 255), *_OKABE_ITO]))
    near_N = np.linalg.norm(seen_VNC[:, :, None] - taken[:, None], axis=-1).min((0, 2))
    chosen = []
    for _ in range(count):
        best = int(near_N.argmax())
        chosen.append(tuple(grid[best].tolist()))
        apart_VN = np.linalg.norm(seen_VNC - seen_VNC[:, best : best + 1], axis=-1)
        near_N = np.minimum(near_N, apart_VN.min(0))
        if not near_N.any():  # more classes than colours of the grid: they repeat
            near_N = np.linalg.norm(seen_VNC[:, :, None] - taken[:, None], axis=-1).min((0, 2))
    return chosen


def _as_seen(colours_N3: np.ndarray) -> np.ndarray:
    """Colours (N, 3) in CIELAB as three kinds of eyes see them, (3, N, 3)."""
    share_N3 = colours_N3.astype(np.float32) / 255
    linear_N3 = np.where(share_N3 > 0.04045, ((share_N3 + 0.055) / 1.055) ** 2.4, share_N3 / 12.92)
    seen_VN3 = np.stack([linear_N3 @ matrix.T for matrix in (np.eye(3), *_BLIND)]).clip(0, 1)
    linear_to_lab = cv2.COLOR_LRGB2LAB
    return cv2.cvtColor(seen_VN3.astype(np.float32), linear_to_lab)


def transparent_classes(classes: Sequence[str]) -> list[int]:
    """The classes that an overlay leaves out."""
    return [index for index, name in enumerate(classes) if is_background(name)]


def overlay(
    labels_HW: np.ndarray,
    image_HW3: np.ndarray,
    palette: Sequence[Sequence[int]],
    transparent: Collection[int] = (),
    opacity: float = 0.5,
) -> np.ndarray:
    """An image under its labels (H, W, 3) uint8; void and the transparent classes leave it as it is.

    Args:
        labels_HW: Integers; what is no class of the palette is void.
        image_HW3: uint8 RGB.
        palette: Colour of each class.
        transparent: Classes without a colour.
        opacity: Share of the colour, 0 to 1.
    """
    shown = (labels_HW >= 0) & (labels_HW < len(palette)) & ~np.isin(labels_HW, list(transparent))
    colours_HW3 = np.array(palette, np.float32).reshape(-1, 3)[np.where(shown, labels_HW, 0)]
    mixed = opacity * colours_HW3 + (1 - opacity) * image_HW3
    return np.where(shown[..., None], mixed.round(), image_HW3).astype(np.uint8)
