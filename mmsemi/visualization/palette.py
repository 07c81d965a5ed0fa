# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Colours of classes that have none of their own, and how labels lie over an image."""

from __future__ import annotations

import colorsys
from collections.abc import Collection, Sequence

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
_BACKGROUND = ("background", "_background_", "bg", "back ground")


def is_background(name: str) -> bool:
    """Whether a class is what lies around the objects, by its name."""
    return name.strip().lower() in _BACKGROUND


def class_palette(classes: Sequence[str]) -> list[list[int]]:
    """A distinct colour (R, G, B) for each class; the background is black.

    The first seven are Okabe and Ito's; further ones differ in lightness as well as in hue, so that they
    are told apart with colour-blind eyes.
    """
    number, palette = 0, []
    for name in classes:
        if is_background(name):
            palette.append([0, 0, 0])
        else:
            palette.append(list(_colour(number)))
            number += 1
    return palette


def _colour(number: int) -> tuple[int, int, int]:
    if number < len(_OKABE_ITO):
        return _OKABE_ITO[number]
    number -= len(_OKABE_ITO)
    # The golden ratio never repeats a hue and keeps neighbours in number apart.
    hue, level = (0.05 + 0.618034 * number) % 1, number % 3
    red, green, blue = colorsys.hls_to_rgb(hue, (0.3, 0.55, 0.78)[level], (0.9, 0.6, 0.75)[level])
    return round(255 * red), round(255 * green), round(255 * blue)


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
