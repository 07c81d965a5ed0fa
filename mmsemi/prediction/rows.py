# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Class scores of an image of any size, a band of rows at a time.

Scores of all classes and pixels of a large image would fill any memory (12,000 x 9,000 pixels and 21
classes: 9 GB), so they exist for a band alone, and what is left of a band is its labels.

Shape suffixes: K networks, C classes, h rows and w columns of the network's input, H and W of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

#: Values of one network's scores, or of all, that may be in memory at once: 1 GiB of float32.
MAX_SCORES = 2**28
#: Values that are worked on at a time where the number is free.
_CHUNK = 2**24

Bands = Iterable[tuple[int, Tensor]]


def tile_weights(length: int, tile: int, overlap: int) -> list[tuple[int, Tensor]]:
    """Tiles along one axis: where each starts, and the weights of its pixels.

    All tiles have one size, so the last one may overlap more. A weight falls towards the ends of its tile,
    where a network sees least around a pixel; those of all tiles sum to 1 at each pixel.

    Args:
        length: Of the axis.
        tile: Of a tile; the axis is one tile if it is shorter.
        overlap: Of neighbours, less than ``tile``.
    """
    tile = min(tile, length)
    starts = [*range(0, length - tile, max(1, tile - overlap)), length - tile]
    ramp = (torch.arange(tile) + 0.5) / max(1, overlap)
    ramp = torch.minimum(ramp, ramp.flip(0)).clamp(max=1)
    total = torch.zeros(length)
    for start in starts:
        total[start : start + tile] += ramp
    return [(start, ramp / total[start : start + tile]) for start in starts]


def tiled_probabilities(
    logits_of: Callable[[Tensor], Tensor], image_Chw: Tensor, tile: int, overlap: int
) -> Iterator[tuple[int, Tensor]]:
    """Weighted means of the tiles' probabilities, in bands of rows from top to bottom.

    Args:
        logits_of: Logits (K, C, h, w) of a part of the image.
        image_Chw: The image.
        tile: Height and width of a tile.
        overlap: Of neighbours.

    Yields:
        First row of the band, and the probabilities (K, C, rows, w), which the next step overwrites.
    """
    height, width = image_Chw.shape[-2:]
    rows, columns = (tile_weights(n, tile, overlap) for n in (height, width))
    sums: Tensor | None = None
    for number, (top, weight_h) in enumerate(rows):
        for left, weight_w in columns:
            right = left + len(weight_w)
            prob = logits_of(image_Chw[:, top : top + len(weight_h), left:right]).softmax(1)
            prob *= weight_h.to(prob)[:, None]
            prob *= weight_w.to(prob)
            if sums is None:
                sums = prob.new_zeros((*prob.shape[:-1], width))
            sums[..., left:right] += prob
        following = rows[number + 1][0] if number + 1 < len(rows) else height
        done = following - top
        yield top, sums[..., :done, :]
        # Move up what is not finished, in blocks that do not overlap: a copy would be as large as the sums.
        kept = sums.shape[-2] - done
        for start in range(0, kept, done):
            size = min(done, kept - start)
            sums[..., start : start + size, :] = sums[..., start + done : start + done + size, :]
        sums[..., kept:, :] = 0


def resized_rows(
    bands: Bands, size_hw: tuple[int, int], size_HW: tuple[int, int], align_corners: bool
) -> Iterator[tuple[int, Tensor]]:
    """Bands of rows resized bilinearly to the size of the image, as ``F.interpolate`` resizes the whole.

    Args:
        bands: First row, and values (K, C, rows, w); from top to bottom, without gaps.
        size_hw: Height and width of all bands together.
        size_HW: Those of the result.
        align_corners: As of ``F.interpolate``.

    Yields:
        First row, and values (K, C, rows, W).
    """
    (height, width), (H, W) = size_hw, size_HW
    scale = height / H
    if align_corners:
        scale = (height - 1) / (H - 1) if H > 1 else 0.0
    position = torch.arange(H, dtype=torch.float64)
    position = position * scale if align_corners else ((position + 0.5) * scale - 0.5).clamp(min=0)
    low = position.long().clamp(max=height - 1)
    high = (low + 1).clamp(max=height - 1)
    weight = position - low

    held, first, done = None, 0, 0  # rows that are still needed, the number of the first, rows made
    for top, band in bands:
        end = top + band.shape[-2]
        if size_hw == size_HW or (
            end - top == height and band[..., :1, :1].numel() * H * W <= MAX_SCORES
        ):
            if size_hw != size_HW:
                band = F.interpolate(band, size_HW, mode="bilinear", align_corners=align_corners)
            yield from _pieces(top, band)
            continue
        held = band if held is None else torch.cat([held, band], -2)
        ready = int(torch.searchsorted(high, end))
        step = max(1, _CHUNK // (band[..., :1, :1].numel() * max(W, width)))
        for start in range(done, ready, step):
            part = slice(start, min(start + step, ready))
            upper, lower = held[..., low[part] - first, :], held[..., high[part] - first, :]
            rows = torch.lerp(upper, lower, weight[part].to(held)[:, None])
            shape = (rows.shape[-2], W)
            yield start, F.interpolate(rows, shape, mode="bilinear", align_corners=align_corners)
        done = ready
        if done < H:
            begin = min(int(low[done]), end)
            held, first = held[..., begin - first :, :].clone(), begin


def _pieces(top: int, band: Tensor) -> Iterator[tuple[int, Tensor]]:
    """A band as bands that are small enough to work on."""
    step = max(1, _CHUNK // band[..., :1, :].numel())
    for start in range(0, band.shape[-2], step):
        yield top + start, band[..., start : start + step, :]


def labels_of_rows(
    bands: Bands, size_HW: tuple[int, int], are_logits: bool, threshold: float | None
) -> tuple[Tensor, Tensor]:
    """The likeliest class of each pixel and its probability, the mean over the networks.

    Args:
        bands: First row, and logits or probabilities (K, C, rows, W).
        size_HW: Of the image.
        are_logits: Which of the two.
        threshold: Of class 1, for a network with one output; None: the likeliest class.

    Returns:
        Labels (H, W) uint8 and confidences (H, W) float32, on the CPU.
    """
    labels_HW = torch.empty(size_HW, dtype=torch.uint8)
    confidence_HW = torch.empty(size_HW, dtype=torch.float32)
    for top, scores in bands:
        prob = (scores.softmax(1) if are_logits else scores).mean(0)
        if threshold is not None:
            label = (prob[1] > threshold).long()
        else:  # of one network as mmseg takes it: a softmax may round two logits to one number
            label = (scores[0] if len(scores) == 1 else prob).argmax(0)
        rows = slice(top, top + scores.shape[-2])
        labels_HW[rows] = label.to(torch.uint8).cpu()
        confidence_HW[rows] = prob.gather(0, label[None])[0].cpu()
    return labels_HW, confidence_HW
