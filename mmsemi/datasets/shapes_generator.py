# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Seeded generator of the built-in data set "shapes", written in the Pascal VOC layout.

What the pictures ask of a network: six foreground classes are pairs of a shape and a texture. No
shape, no texture and no colour belongs to one class alone (a plain ring and a dotted blob are
background), so a network has to learn both and where one ends. Light, colours, blur, rotation, size
and occlusion vary freely, so that a few dozen labelled images do not show all of it and unlabelled
images have something to add.

Decisions:

* Image ``i`` is a function of ``(seed, split, i)`` only. Layout and appearance draw from two
  separate streams: a change of colours cannot move an object.
* Masks come from float64 comparisons and integer morphology, so they agree between machines; of the
  pixels, only the last bits may differ (cv2 filters, JPEG).
* Shapes are signed distance functions: negative inside, one unit per pixel, which gives soft edges
  without supersampling.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..errors import ConfigError

GENERATOR_VERSION = 4
MARKER = "shapes.json"
VOID = 255
SPLITS = ("train", "val")
SIDES = (96, 112, 128, 144, 160)
CLASSES = (
    "background",
    "striped disc",
    "dotted disc",
    "striped bar",
    "checked bar",
    "dotted ring",
    "checked ring",
)
PALETTE = (
    (0, 0, 0),
    (220, 50, 47),
    (38, 139, 210),
    (133, 190, 0),
    (211, 54, 190),
    (255, 180, 0),
    (42, 190, 170),
)
SHAPES = ("disc", "bar", "ring")
TEXTURES = ("striped", "checked", "dotted")


@dataclass(frozen=True)
class Figure:
    """One drawn figure: a foreground object (``label`` > 0) or a distractor (``label`` 0)."""

    label: int
    shape: str
    texture: str
    distance: np.ndarray  # (H, W) float64, signed distance in pixels, negative inside
    center: tuple[float, float]


def signed_distance(
    shape: str, xx: np.ndarray, yy: np.ndarray, radius: float, aspect: float
) -> np.ndarray:
    """Distance to the outline of a shape centred at the origin, in pixels, negative inside.

    Args:
        shape: One of 'disc', 'bar', 'ring' or 'blob'.
        xx: Horizontal coordinates in the shape's own rotated frame, (H, W).
        yy: Vertical coordinates, (H, W).
        radius: Half extent of the shape in pixels.
        aspect: Width over height; the area stays the same.
    """
    stretch = np.sqrt(aspect)
    half_w, half_h = radius * stretch, radius / stretch
    u, v = xx / half_w, yy / half_h
    unit = min(half_w, half_h)
    if shape == "disc":
        return (np.hypot(u, v) - 1.0) * unit
    if shape == "bar":
        return np.maximum(np.abs(xx) - 1.3 * half_w, np.abs(yy) - 0.42 * half_h)
    if shape == "ring":
        return (np.abs(np.hypot(u, v) - 0.76) - 0.30) * unit
    if shape == "blob":
        wobble = 1.0 + 0.22 * np.sin(3 * np.arctan2(v, u)) + 0.13 * np.cos(5 * np.arctan2(v, u))
        return (np.hypot(u, v) - wobble) * unit
    raise ValueError(f"unknown shape {shape!r}, expected one of {SHAPES + ('blob',)}")


def texture_pattern(name: str, uu: np.ndarray, vv: np.ndarray, period: float) -> np.ndarray:
    """Share of the second colour at every pixel, in [0, 1].

    Args:
        name: One of 'striped', 'checked', 'dotted' or 'plain'.
        uu: Horizontal coordinates in the texture's own rotated frame, in pixels.
        vv: Vertical coordinates.
        period: Repeat length in pixels.
    """
    if name == "striped":
        return np.clip(0.5 + 1.4 * np.sin(2 * np.pi * uu / period), 0, 1)
    if name == "checked":
        # One check per half period would be finer than the stripes; 1.5 gives like detail.
        length = 1.5 * period
        wave = np.sin(2 * np.pi * uu / length) * np.sin(2 * np.pi * vv / length)
        return np.clip(0.5 + 2.0 * wave, 0, 1)
    if name == "dotted":
        length = 1.1 * period
        row = np.floor(vv / length)
        du = np.mod(uu + 0.5 * length * np.mod(row, 2), length) - 0.5 * length
        dv = np.mod(vv, length) - 0.5 * length
        return np.clip(0.5 + 0.31 * length - np.hypot(du, dv), 0, 1)
    if name == "plain":
        return np.zeros_like(uu)
    raise ValueError(f"unknown texture {name!r}, expected one of {TEXTURES + ('plain',)}")


def _pixel_grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    yy, xx = np.mgrid[0:height, 0:width].astype(np.float64)
    return xx, yy


def _rotate(xx: np.ndarray, yy: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * xx + sin * yy, cos * yy - sin * xx


def _draw_figure(
    rng: np.random.Generator, height: int, width: int, label: int, shape: str, texture: str
) -> Figure:
    xx, yy = _pixel_grid(height, width)
    radius = rng.uniform(17.0, 28.0) * (1.12 if shape == "ring" else 1.0)
    # Centres may lie near the rim: figures cut by the image border belong to the task.
    cx = rng.uniform(0.4 * radius, width - 0.4 * radius)
    cy = rng.uniform(0.4 * radius, height - 0.4 * radius)
    angle, aspect = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(-0.15, 0.15))
    du, dv = _rotate(xx - cx, yy - cy, angle)
    return Figure(label, shape, texture, signed_distance(shape, du, dv, radius, aspect), (cx, cy))


def _draw_distractor(rng: np.random.Generator, height: int, width: int) -> Figure:
    # Either a known texture without a known shape, or a known shape without a texture.
    if rng.random() < 0.5:
        shape, texture = "blob", TEXTURES[rng.integers(len(TEXTURES))]
    else:
        shape, texture = SHAPES[rng.integers(len(SHAPES))], "plain"
    return _draw_figure(rng, height, width, 0, shape, texture)


def draw_layout(rng: np.random.Generator) -> tuple[list[Figure], np.ndarray]:
    """Draw size, figures and the label map of one image.

    Returns:
        The figures from back to front, and the label map (H, W) uint8 with values 0-6 and 255 on
        the border (one pixel on either side) between two objects or an object and the background.
    """
    height, width = (int(SIDES[k]) for k in rng.integers(len(SIDES), size=2))
    num_objects = int(rng.integers(2, 5))
    kinds = [0] * int(rng.integers(0, 2)) + [
        int(k) for k in 1 + rng.integers(len(CLASSES) - 1, size=num_objects)
    ]
    if rng.random() < 0.25:  # a distractor in front of the objects
        kinds.append(0)
    figures: list[Figure] = []
    owner = np.zeros((height, width), np.int16)  # 0: background, k: k-th figure if it is an object
    full_area: dict[int, int] = {}
    for kind in kinds:
        for _ in range(12):
            if kind == 0:
                figure = _draw_distractor(rng, height, width)
            else:
                texture, shape = CLASSES[kind].split()
                figure = _draw_figure(rng, height, width, kind, shape, texture)
            inside = figure.distance < 0
            trial = np.where(inside, len(figures) + 1 if kind else 0, owner)
            # Occlusion yes, but every object keeps 70 % of its pixels: less is hard to name.
            if all((trial == k).sum() >= 0.7 * area for k, area in full_area.items()):
                figures.append(figure)
                owner = trial
                if kind:
                    full_area[len(figures)] = int(inside.sum())
                break
    labels = np.array([0] + [figure.label for figure in figures], np.uint8)[owner]
    kernel = np.ones((3, 3), np.uint8)
    ids = owner.astype(np.uint8)
    labels[cv2.dilate(ids, kernel) != cv2.erode(ids, kernel)] = VOID
    return figures, labels


def _two_colors(rng: np.random.Generator, min_contrast: float) -> tuple[np.ndarray, np.ndarray]:
    """Two random RGB colours in [0, 1] whose luminance differs by at least ``min_contrast``."""
    luma = np.array([0.299, 0.587, 0.114])
    for _ in range(50):
        first, second = rng.uniform(0.05, 0.95, 3), rng.uniform(0.05, 0.95, 3)
        if abs(float((first - second) @ luma)) >= min_contrast:
            return first, second
    return np.full(3, 0.15), np.full(3, 0.85)


def _noise(rng: np.random.Generator, height: int, width: int, cell: int) -> np.ndarray:
    """Smooth noise (H, W) in [0, 1] with features of about ``cell`` pixels."""
    shape = (height // cell + 2, width // cell + 2)
    coarse = rng.random(shape, dtype=np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise of several scales between random colours, sometimes with a large weak pattern."""
    image = np.zeros((height, width, 3))
    weights = rng.dirichlet((1.5, 1.0, 0.7))
    for cell, weight in zip((32, 10, 3), weights, strict=True):
        first, second = _two_colors(rng, 0.1)
        share = _noise(rng, height, width, cell)[..., None]
        image += weight * (first + (second - first) * share)
    if rng.random() < 0.3:
        xx, yy = _pixel_grid(height, width)
        uu, vv = _rotate(xx, yy, rng.uniform(0, 2 * np.pi))
        name = TEXTURES[rng.integers(len(TEXTURES))]
        share = texture_pattern(name, uu, vv, rng.uniform(16.0, 36.0))[..., None]
        image += rng.uniform(0.08, 0.2) * (share - 0.5) * rng.uniform(0.5, 1.0, 3)
    return np.clip(image, 0, 1)


def _paint(rng: np.random.Generator, image: np.ndarray, figure: Figure) -> np.ndarray:
    height, width = image.shape[:2]
    first, second = _two_colors(rng, 0.45)
    xx, yy = _pixel_grid(height, width)
    angle, period = rng.uniform(0, 2 * np.pi), rng.uniform(8.0, 11.0)
    offset = rng.uniform(0, 50, 2)
    uu, vv = _rotate(xx - figure.center[0], yy - figure.center[1], angle)
    share = texture_pattern(figure.texture, uu + offset[0], vv + offset[1], period)[..., None]
    colors = first + (second - first) * share
    # Shading across the figure, so that 'plain' does not mean 'constant'.
    slope = np.clip(0.012 * rng.uniform(-1, 1) * vv, -0.25, 0.25)[..., None]
    grain = 0.14 * (_noise(rng, height, width, 4) - 0.5)[..., None]
    alpha = np.clip(0.5 - figure.distance, 0, 1)[..., None]
    return image + (np.clip(colors + slope + grain, 0, 1) - image) * alpha


def _change_light(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Gain, gamma, colour cast, a gradient of light, blur and noise of one camera shot."""
    height, width = image.shape[:2]
    xx, yy = _pixel_grid(height, width)
    uu, _ = _rotate(xx / width - 0.5, yy / height - 0.5, rng.uniform(0, 2 * np.pi))
    gain = rng.uniform(0.65, 1.15) * (1 + rng.uniform(0, 0.5) * uu)[..., None]
    cast = rng.uniform(0.8, 1.1, 3)
    image = np.clip(np.clip(image, 0, 1) ** rng.uniform(0.8, 1.3) * gain * cast, 0, 1)
    sigma = rng.uniform(0.0, 0.8)
    if sigma > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    return image + rng.uniform(0.0, 0.025) * rng.standard_normal(image.shape)


def generate_sample(seed: int, split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Make one image and its mask.

    Args:
        seed: Seed of the data set.
        split: 'train' or 'val'.
        index: Number of the image in the split.

    Returns:
        The RGB image (H, W, 3) uint8 and the label map (H, W) uint8 with values 0-6 and 255.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}, expected one of {SPLITS}")
    entropy = np.random.SeedSequence([seed, SPLITS.index(split), index])
    layout_rng, look_rng = (np.random.default_rng(child) for child in entropy.spawn(2))
    figures, labels = draw_layout(layout_rng)
    image = _background(look_rng, *labels.shape)
    for figure in figures:
        image = _paint(look_rng, image, figure)
    image = _change_light(look_rng, image)
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8), labels


def write_shapes(
    out_dir: str | os.PathLike, seed: int = 0, num_train: int = 256, num_val: int = 100
) -> None:
    """Write the data set in VOC layout into ``out_dir`` (made if missing), the marker file last.

    Args:
        out_dir: Target folder; gets JPEGImages, SegmentationClass, ImageSets/Segmentation and
            shapes.json.
        seed: Seed of the data set.
        num_train: Number of training images.
        num_val: Number of validation images.
    """
    for name, count in (("num_train", num_train), ("num_val", num_val)):
        if count < 1:
            raise ConfigError(f"{name} must be at least 1, got {count}")
    root = Path(out_dir)
    lists = root / "ImageSets" / "Segmentation"
    for folder in (root / "JPEGImages", root / "SegmentationClass", lists):
        folder.mkdir(parents=True, exist_ok=True)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(PALETTE)] = PALETTE
    palette[VOID] = (224, 224, 192)  # VOC's colour of the void border
    for split, count in zip(SPLITS, (num_train, num_val), strict=True):
        names = [f"{split}_{i:04d}" for i in range(count)]
        for i, name in enumerate(names):
            image, labels = generate_sample(seed, split, i)
            path = root / "JPEGImages" / f"{name}.jpg"
            if not cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]):
                raise OSError(f"cannot write {path}")
            mask = Image.fromarray(labels).convert("P")
            mask.putpalette(palette.tobytes())
            mask.save(root / "SegmentationClass" / f"{name}.png")
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    marker = {  # says which settings made it, and that it is complete
        "version": GENERATOR_VERSION,
        "seed": seed,
        "num_train": num_train,
        "num_val": num_val,
    }
    (root / MARKER).write_text(json.dumps(marker) + "\n")
