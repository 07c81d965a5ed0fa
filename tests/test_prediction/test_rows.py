# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Bands of rows give what the whole image gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmsemi.prediction import rows
from mmsemi.prediction.rows import (
    labels_of_rows,
    resized_rows,
    tile_weights,
    tiled_probabilities,
)


@pytest.mark.parametrize(
    "length, tile, overlap, starts",
    [
        (10, 4, 1, [0, 3, 6]),
        (11, 4, 1, [0, 3, 6, 7]),
        (4, 4, 1, [0]),
        (3, 8, 2, [0]),
        (8, 4, 0, [0, 4]),
    ],
)
def test_tiles_of_an_axis(length, tile, overlap, starts):
    tiles = tile_weights(length, tile, overlap)
    assert [start for start, _ in tiles] == starts
    total = torch.zeros(length)
    for start, weight in tiles:
        assert len(weight) == min(tile, length) and (weight > 0).all()
        total[start : start + len(weight)] += weight
    torch.testing.assert_close(total, torch.ones(length))
    if (
        len(tiles) > 1 and overlap
    ):  # by hand: both tiles see their last pixel from half a pixel away
        assert tiles[0][1][-1] == pytest.approx(0.5)


@pytest.mark.parametrize("size", [(53, 70), (32, 20), (7, 9)])
def test_tiles_of_a_network_that_sees_single_pixels(size):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(3, *size, generator=generator)
    matrix = torch.randn(2, 5, 3, generator=generator)
    seen = []

    def logits_of(part):
        seen.append(tuple(part.shape[-2:]))
        return torch.einsum("kcd,dhw->kchw", matrix, part)

    whole = logits_of(image).softmax(1)
    bands = [(top, band.clone()) for top, band in tiled_probabilities(logits_of, image, 20, 6)]
    assert [top for top, _ in bands] == [
        0,
        *torch.tensor([b.shape[2] for _, b in bands]).cumsum(0)[:-1],
    ]
    torch.testing.assert_close(torch.cat([band for _, band in bands], 2), whole)
    assert set(seen[1:]) == {(min(20, size[0]), min(20, size[1]))}


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(40, 33), (17, 12), (23, 9), (1, 1)])
def test_resized_bands(monkeypatch, size, align_corners):
    scores = torch.randn(2, 3, 17, 12, generator=torch.Generator().manual_seed(1))
    expected = F.interpolate(scores, size, mode="bilinear", align_corners=align_corners)
    bands = [(0, scores[..., :6, :]), (6, scores[..., 6:7, :]), (7, scores[..., 7:, :])]
    monkeypatch.setattr(rows, "_CHUNK", 400)
    for given in (bands, [(0, scores)]):
        for limit in (rows.MAX_SCORES, 0):
            monkeypatch.setattr(rows, "MAX_SCORES", limit)
            found = list(resized_rows(given, (17, 12), size, align_corners))
            assert [top for top, _ in found] == sorted({top for top, _ in found})
            result = torch.cat([values for _, values in found], 2)
            torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
            assert len(found) > 1 or size == (1, 1)


def test_labels_of_rows():
    """Two networks: the mean of their probabilities counts, by hand."""
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).view(2, 2, 1, 1)
    first, second = 1 / (1 + torch.e**-2), 1 / (1 + torch.e**1)
    labels, confidence = labels_of_rows([(0, logits)], (1, 1), True, None)
    assert labels.dtype == torch.uint8 and confidence.dtype == torch.float32
    assert labels.item() == 0 and confidence.item() == pytest.approx((first + second) / 2)
    # One output: class 1 above the threshold of the head, with its own probability.
    prob = torch.tensor([0.6, 0.4]).view(1, 2, 1, 1)
    labels, confidence = labels_of_rows([(0, prob)], (1, 1), False, 0.3)
    assert labels.item() == 1 and confidence.item() == pytest.approx(0.4)
    labels, _ = labels_of_rows([(0, prob)], (1, 1), False, 0.5)
    assert labels.item() == 0
