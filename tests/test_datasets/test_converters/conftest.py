# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Tiny files in the layouts of the real data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "_base_" / "data"
HW = (30, 40)


class Files:
    """Writes images and masks below a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.random = root, np.random.default_rng(0)

    def image(self, path: str, hw: tuple[int, int] = HW) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.random.integers(0, 256, (*hw, 3), np.uint8)).save(target)

    def mask(self, path: str, values, hw: tuple[int, int] = HW, palette=None) -> np.ndarray:
        """Random values of a list, each of them present."""
        mask = self.random.choice(np.asarray(values, np.uint8), hw)
        mask.ravel()[: len(values)] = values
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(mask)
        if palette is not None:
            image.putpalette(palette)
        image.save(target)
        return mask

    def text(self, path: str, *lines: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines) + "\n")


@pytest.fixture
def files(tmp_path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def indices():
    """The stored indices of a grey or palette PNG, without the project's reader."""

    def read(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            assert image.mode in ("L", "P")
            return np.array(image)

    return read


@pytest.fixture
def snapshot(tmp_path):
    """Content and time of every file, to see that a run touches nothing."""

    def take() -> dict[str, tuple[bytes, int]]:
        paths = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
        return {str(p.relative_to(tmp_path)): (p.read_bytes(), p.stat().st_mtime_ns) for p in paths}

    return take


@pytest.fixture
def build_config():
    """Training and validation set of a data set config, at another place and with few images."""

    def build(name: str, old_root: str, new_root: Path, **changes):
        config = Config.fromfile(CONFIGS / f"{name}.py")
        text = config.pretty_text.replace(f"'{old_root}'", f"'{new_root}'")
        moved = new_root.parent / "moved_config.py"
        moved.write_text(text)
        config = Config.fromfile(moved)
        train = config.train_dataloader.dataset
        for key, value in changes.items():
            train[key] = value
        return DATASETS.build(train), DATASETS.build(config.val_dataloader.dataset)

    return build
