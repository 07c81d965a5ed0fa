# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What images look like in a few numbers: to find copies, and to see which kinds there are.

Shape suffixes: N images, H rows, W columns, C channels, F features, B bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec

import cv2
import numpy as np
from PIL import Image

from ..errors import DataError

#: Side of the small pictures that everything is computed from.
SIDE = 128
#: Rows and columns of a fingerprint.
GRID = 16
NETWORK = "efficientnet_lite0"
# Images that are in memory, and in a batch of the network, at a time.
_BATCH = 32


@dataclass
class Looks:
    """Images in numbers.

    Attributes:
        paths: The images.
        prints_NGGC: (N, 16, 16, 3) uint8, each image made small, in CIELAB.
        features_NF: (N, F) float32, by which like images are near each other.
        made_from: What the features are, for people.
    """

    paths: list[str]
    prints_NGGC: np.ndarray
    features_NF: np.ndarray
    made_from: str

    def chosen(self, indices: Sequence[int]) -> Looks:
        """Those of some of the images."""
        rows = list(indices)
        return Looks(
            [self.paths[row] for row in rows],
            self.prints_NGGC[rows],
            self.features_NF[rows],
            self.made_from,
        )


def read_small(path: str) -> np.ndarray:
    """An image as (128, 128, 3) uint8 BGR, whatever its shape.

    Raises:
        DataError: It cannot be decoded.
    """
    picture = cv2.imread(path, _reduction(path))
    if picture is None:
        raise DataError(f"image '{path}' cannot be decoded: remove it, or copy it again")
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _reduction(path: str) -> int:
    """How far the decoder may shrink a picture, which saves most of the time for large ones."""
    try:
        with Image.open(path) as header:
            spare = min(header.size) // SIDE
    except Exception:  # OpenCV knows formats that Pillow does not, and says what is broken
        return cv2.IMREAD_COLOR
    flags = (
        cv2.IMREAD_REDUCED_COLOR_8,
        cv2.IMREAD_REDUCED_COLOR_4,
        cv2.IMREAD_REDUCED_COLOR_2,
        cv2.IMREAD_COLOR,
    )
    return next(flag for flag, least in zip(flags, (8, 4, 2, 0)) if spare >= least)


def look_at(
    paths: Sequence[str],
    use_network: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Looks:
    """Read images and describe each in numbers.

    Args:
        paths: The images.
        use_network: Features of the ImageNet network; None: where timm and its weights are there.
        progress: Told how many images are done, of how many.

    Raises:
        DataError: An image cannot be decoded.
    """
    network = _network() if use_network or (use_network is None and has_network()) else None
    prints, features = [], []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for batch in _batches(paths):
            small_NHWC = np.stack(list(pool.map(read_small, batch)))
            prints += [fingerprint(one) for one in small_NHWC]
            features.append(network(small_NHWC) if network else colour_features(small_NHWC))
            if progress is not None:
                progress(len(prints), len(paths))
    made_from = "an ImageNet network" if network else "colour and texture"
    empty = np.zeros((0, GRID, GRID, 3), np.uint8), np.zeros((0, 8), np.float32)
    return Looks(
        list(paths),
        np.stack(prints) if prints else empty[0],
        np.concatenate(features) if features else empty[1],
        made_from,
    )


def _batches(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    return (paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH))


# --- Copies ---------------------------------------------------------------------------------------


def fingerprint(small_HWC: np.ndarray) -> np.ndarray:
    """(16, 16, 3) uint8 CIELAB of a small picture, which saving anew or resizing hardly changes."""
    grid = cv2.resize(small_HWC, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(grid, cv2.COLOR_BGR2LAB)


# --- Kinds ----------------------------------------------------------------------------------------


def colour_features(small_NHWC: np.ndarray) -> np.ndarray:
    """Mean and deviation of L, a, b, and the strength of edges at two scales, float32 (N, 8)."""
    features = []
    for picture in small_NHWC:
        lab_HW3 = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_BGR2LAB) / 100
        edges = []
        for scale in (1, 2):
            light_HW = cv2.resize(
                lab_HW3[..., 0], None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA
            )
            edges.append(np.mean(np.abs(np.diff(light_HW, axis=0))))
        flat_N3 = lab_HW3.reshape(-1, 3)
        features.append(np.concatenate([flat_N3.mean(0), flat_N3.std(0), edges]))
    return np.stack(features).astype(np.float32)


def has_network() -> bool:
    """Whether the small ImageNet network can be used without fetching anything."""
    from ..utils.packaged_weights import weight_file

    return find_spec("timm") is not None and weight_file(NETWORK).is_file()


def _network() -> Callable[[np.ndarray], np.ndarray]:
    """Pictures (N, H, W, 3) uint8 BGR -> means of the network's last maps, (N, F) of length 1."""
    import timm
    import torch

    from ..utils.packaged_weights import SCHEME, find_weights, load_from_mmsemi

    net = timm.create_model(find_weights(NETWORK).timm_model, features_only=True)
    state = load_from_mmsemi(SCHEME + NETWORK)["state_dict"]
    net.load_state_dict({key.removeprefix("backbone.timm_model."): v for key, v in state.items()})
    net.eval()

    @torch.no_grad()
    def features(small_NHWC: np.ndarray) -> np.ndarray:
        rgb_NCHW = torch.from_numpy(small_NHWC[..., ::-1].copy()).permute(0, 3, 1, 2).float()
        means_NF = net((rgb_NCHW - 127) / 128)[-1].mean((2, 3))
        return torch.nn.functional.normalize(means_NF, dim=1).numpy()

    return features
