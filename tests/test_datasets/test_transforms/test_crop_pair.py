# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Two crops that overlap: docs/methods/cac.md#pairs-of-crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS

from mmsemi.datasets.pipelines import seeded
from mmsemi.datasets.samplers import Draw
from mmsemi.datasets.transforms import OverlappingCropPair, PackSemiInputs
from mmsemi.datasets.truth import load_truth
from mmsemi.errors import ConfigError
from mmsemi.models import SemiSegDataPreProcessor
from mmsemi.models.crop_pairs import CropView, cut_overlap, flip_chosen

# Unpadded size, first corner, second as drawn and as it becomes, IoU, overlap in both crops.
BY_HAND = [
    ((400, 400), (20, 10), (5, 37), (4, 34), 0.783724, (0, 38, 3, 40), (2, 40, 0, 37)),
    ((400, 400), (3, 70), (0, 3), (3, 6), 0.666667, (0, 40, 0, 32), (0, 40, 8, 40)),
    ((250, 400), (0, 33), (0, 80), (0, 73), 0.777778, (0, 31, 5, 40), (0, 31, 0, 35)),
    ((800, 600), (480, 0), (0, 280), (0, 280), 0.0, None, None),
]


@pytest.mark.parametrize(("size", "first", "drawn", "second", "iou", "box", "other"), BY_HAND)
def test_by_hand(size, first, drawn, second, iou, box, other):
    pair = OverlappingCropPair(320)
    assert pair.snap(first, drawn) == second
    assert pair.iou(first, second) == pytest.approx(iou, abs=1e-6)
    if box is not None:
        assert pair.overlap(first, second, size) == box
        assert pair.overlap(second, first, size) == other


def ramp(height: int, width: int) -> np.ndarray:
    """An image whose pixels say where they are."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows % 256, columns % 256, rows // 256 * 16 + columns // 256], 2).astype(
        np.uint8
    )


@pytest.mark.parametrize("size", [(100, 150), (64, 64), (40, 90), (30, 20), (64, 200)])
def test_the_overlap_shows_the_same(size):
    """Through packing, padding, a flip as the network sees it, and back."""
    pair, image = OverlappingCropPair(64), ramp(*size)
    preprocessor = SemiSegDataPreProcessor(size=(64, 64))
    corners = set()
    for seed in range(12):
        with seeded(seed):
            results = pair(dict(img=image, img_shape=size))
        packed = PackSemiInputs(meta_keys=())(results)
        assert packed["inputs"].dtype == torch.uint8 and packed["inputs"].shape[:2] == (2, 3)
        sample = packed["data_samples"]
        sample.set_metainfo(dict(source="unlabeled", draw_seed=seed, img_path="x"))
        batch = dict(inputs=[packed["inputs"]], data_samples=[sample])
        batch = preprocessor(batch, training=True)["inputs"]
        crops, found = (batch.unlabeled, batch.sources["second_crop"]), sample.crop_pair
        assert crops[1].paths == ["x"] and crops[1].labels_NHW is None
        assert found.stride == 8
        shown = []
        for crop, box, flip in zip(crops, (found.first, found.second), found.flips):
            seen = flip_chosen(crop.rgb_NCHW, [flip])  # what the network works on
            grid = flip_chosen(seen, [flip])[:, :, ::8, ::8]
            valid = crop.valid_NHW[:, ::8, ::8]
            pixels = cut_overlap(CropView(grid, valid, valid), [box])
            assert pixels.label_N.all(), "no padding"
            shown.append(pixels.features_ND)
        assert torch.equal(*shown)
        top, bottom, left, right = found.first
        corners.add((top, left))
        shared = (bottom - top) * (right - left)
        assert shared >= 0.1 * 2 * 64 / 1.1 or min(size) < 64
    assert len(corners) > 2 or max(size) <= 64


def test_snapped_overlaps_and_flips_over_many_draws():
    pair = OverlappingCropPair((64, 80), iou_range=(0.3, 0.9))
    np.random.seed(0)
    drawn = [pair(dict(img=np.zeros((120, 170, 1), np.uint8)))["crop_pair"] for _ in range(300)]
    flips = np.array([one.flips for one in drawn]).mean(0)
    assert (abs(flips - 0.5) < 0.1).all()
    for one in drawn:
        sides = [(b - a) for a, b in zip(one.first[::2], one.first[1::2])]
        assert sides == [(b - a) for a, b in zip(one.second[::2], one.second[1::2])]
        shared = 64 * sides[0] * sides[1]
        iou = shared / (2 * 64 * 80 - shared)
        assert 0.3 <= iou <= 0.9 or iou == 1  # none was found: the same crop twice
    assert sum(one.first == (0, 8, 0, 10) for one in drawn) < 10


def test_a_draw_decides_everything_and_the_last_resort_is_the_same_crop():
    image = ramp(200, 200)
    pair = OverlappingCropPair(64)
    with seeded(3):
        first = pair(dict(img=image))
    with seeded(3):
        again = pair(dict(img=image))
    assert first["crop_pair"] == again["crop_pair"]
    assert all(np.array_equal(a, b) for a, b in zip(first["img"], again["img"]))
    same = OverlappingCropPair(64, max_tries=0)(dict(img=image))
    assert np.array_equal(*same["img"])
    assert same["crop_pair"].first == same["crop_pair"].second == (0, 8, 0, 8)


@pytest.mark.parametrize(
    "settings",
    [
        dict(crop_size=60),
        dict(crop_size=(64, 60)),
        dict(crop_size=0),
        dict(crop_size=64, stride=0),
        dict(crop_size=64, iou_range=(0, 1)),
        dict(crop_size=64, iou_range=(0.5, 0.2)),
        dict(crop_size=64, max_tries=-1),
        dict(crop_size=64, flip_prob=1.5),
    ],
)
def test_refusals(settings):
    name, value = list(settings.items())[-1]
    with pytest.raises(ConfigError, match=name):
        OverlappingCropPair(**settings)


def test_a_transform_behind_the_pair_is_refused():
    results = OverlappingCropPair(32)(dict(img=ramp(64, 64)))
    results["img"] = np.flip(results["img"], 1)  # as mmcv's flip does
    with pytest.raises(ConfigError, match="OverlappingCropPair"):
        PackSemiInputs(meta_keys=())(results)


def test_the_truth_of_a_pair_is_that_of_the_first_crop(semi_config):
    """For pictures of pseudo-labels: the sample is drawn again, with the mask that was hidden."""
    semi_config["unlabeled"]["pipeline"][2:4] = [dict(type="OverlappingCropPair", crop_size=32)]
    dataset = DATASETS.build(semi_config)
    index = dataset.source_ranges["unlabeled"][2]
    sample = dataset[Draw(index, 5)]
    assert "gt_sem_seg" not in sample["data_samples"]
    truth = load_truth(dataset, sample["data_samples"], sample["inputs"])
    image = sample["inputs"][0]
    assert truth.shape == image.shape[1:]
    # Each class has a colour of its own (tests/conftest.py), BGR here; borders are blurred.
    brightest = image.float().argmax(0)[truth != 255]
    right = brightest == torch.tensor([0, 2, 1])[truth[truth != 255].long()]
    assert right.float().mean() > 0.9
