# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Images that are not 8-bit RGB, and maps besides the labels, on their way into a batch."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmsemi.errors import ConfigError, DataError
from mmsemi.models import preprocessor as module
from mmsemi.models.views import RandomIntensity, StrongPhotometric
from mmsemi.visualization.denormalize import denormalize

SIZE = (8, 10)


def sample(image: np.ndarray, source: str = "unlabeled", mask: np.ndarray | None = None) -> dict:
    packed = SegDataSample(metainfo=dict(img_path=f"{image.dtype}.tif", source=source, draw_seed=3))
    if mask is not None:
        packed.gt_sem_seg = PixelData(data=torch.from_numpy(mask[None]))
    return dict(inputs=torch.from_numpy(image), data_samples=packed)


def batch(*samples: dict) -> dict:
    return {key: [one[key] for one in samples] for key in ("inputs", "data_samples")}


def build(channels: int, mean: float = 0.0, std: float = 1.0, **settings):
    config = dict(type="SemiSegDataPreProcessor", size=SIZE, **settings)
    return MODELS.build({**config, "mean": [mean] * channels, "std": [std] * channels})


def ramp(low: float, high: float, dtype: type, channels: int = 3) -> np.ndarray:
    height, width = SIZE
    values = np.linspace(low, high, channels * height * width).round(3)
    return values.reshape(channels, height, width).astype(dtype)


# --- Bit depths and ranges ------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_8_bit_16_bit_and_float_images_share_a_batch(order):
    """The type of the first one decides nothing."""
    images = [ramp(0, 255, np.uint8), ramp(300, 60000, np.uint16), ramp(-2.5, 2.5, np.float64)]
    images = [images[i] for i in order]
    made = build(3)(batch(*map(sample, images)), training=True)["inputs"].unlabeled
    assert made.rgb_NCHW.dtype == torch.float32
    for got, image in zip(made.rgb_NCHW, images):
        assert np.array_equal(got.numpy(), image.astype(np.float32))
    wanted = [(0.0, 255.0), (300.0, 60000.0), (-2.5, 2.5)]
    assert [tuple(one) for one in made.range_N2.tolist()] == [wanted[i] for i in order]


@pytest.mark.parametrize("image", [ramp(300, 2850, np.uint16), ramp(-3, 3, np.float32)])
def test_a_strong_view_keeps_to_the_range_of_its_image(image):
    model = build(3, mean=float(image.mean()), std=float(image.std()))
    made = model(batch(sample(image)), training=True)["inputs"].unlabeled
    seen = []
    view = model.photometric_view(made, lambda x, _: seen.append(x) or x, None)
    assert seen[0].min() == 0 and seen[0].max() == 1
    torch.testing.assert_close(view, made.pixels_NCHW, rtol=1e-4, atol=1e-4)
    for _ in range(5):
        view = model.photometric_view(made, StrongPhotometric(p_gray=0, p_blur=0), None)
        assert view.std() > 0.2, "nothing is cut to one value"


def test_a_range_that_is_set_counts_for_every_type():
    model = build(3, value_range=(0, 1000))
    parts = sample(ramp(0, 250, np.uint8)), sample(ramp(0, 2000, np.float32))
    made = model(batch(*parts), training=True)["inputs"].unlabeled
    seen = []
    model.photometric_view(made, lambda x, _: seen.append(x) or x, None)
    assert seen[0][0].max() == 0.25 and seen[0][1].max() == 1
    with pytest.raises(ConfigError, match=r"value_range=\(255, 0\)"):
        build(3, value_range=(255, 0))


def test_labels_beyond_8_bit_and_another_padding_are_kept():
    mask = np.full((4, 10), 300, np.int64)
    parts = sample(ramp(0, 9, np.uint8)[:, :4], "labeled", mask)
    model = build(3, seg_pad_val=-100)
    labels = model(batch(parts), training=True)["inputs"].labeled.labels_NHW
    assert (labels[0, :4] == 300).all() and (labels[0, 4:] == -100).all()


@pytest.mark.parametrize(
    ("image", "mean", "std", "is_told"),
    [
        (ramp(0, 255, np.uint8), 0.45, 0.22, True),
        (ramp(0, 40000, np.uint16), 116.0, 57.0, True),
        (ramp(0, 1, np.float32), 116.0, 57.0, True),
        (ramp(0, 255, np.uint8), 116.0, 57.0, False),
        (np.zeros((3, *SIZE), np.uint8) + 3, 116.0, 57.0, False),
    ],
)
def test_mean_and_std_of_another_range_are_told_once(image, mean, std, is_told, monkeypatch):
    told = []
    monkeypatch.setattr(module, "print_log", lambda text, _, level: told.append((level, text)))
    model = build(3, mean, std)
    for _ in range(2):
        model(batch(sample(image)), training=True)
    assert [level for level, _ in told] == [logging.WARNING] * is_told
    assert all(f"{mean:g}" in text for _, text in told)


def test_pictures_of_16_bit_images_are_stretched():
    image = torch.from_numpy(ramp(300, 2850, np.float32))[None]
    model = build(3, 1500.0, 700.0)
    picture = denormalize((image - 1500) / 700, model)
    assert picture.min() == 0 and picture.max() == 255 and len(np.unique(picture)) > 200


# --- Channels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
def test_blur_brightness_and_contrast_take_any_channels(channels):
    model = build(channels, 100.0, 50.0)
    made = model(batch(sample(ramp(0, 255, np.uint8, channels))), training=True)["inputs"].unlabeled
    strong = StrongPhotometric(jitter=(0.5, 0.5, 0, 0), p_jitter=1, p_gray=0, p_blur=1)
    view = model.photometric_view(made, strong, torch.Generator().manual_seed(1))
    assert view.shape == made.pixels_NCHW.shape and not torch.allclose(view, made.pixels_NCHW)
    x = torch.rand(2, channels, 8, 8)
    both = [strong, torch.Generator().manual_seed(2)], [strong, torch.Generator().manual_seed(2)]
    one_by_one = both[0][0](x, both[0][1])
    strong._one_by_one = lambda x, p, d, order, size: strong._whole_batch(
        x, p, d.bool(), order, size
    )
    torch.testing.assert_close(both[1][0](x, both[1][1]), one_by_one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("strong", "named"),
    [
        (dict(p_gray=0, jitter=(0.5, 0.5, 0.5, 0)), "saturation"),
        (dict(p_gray=0, jitter=(0, 0, 0, 0.2)), "hue"),
        (dict(p_jitter=0), "grayscale"),
    ],
)
def test_colour_operations_on_other_channels_are_refused_by_name(strong, named):
    with pytest.raises(ConfigError, match=f": {named} .* 4 channels"):
        StrongPhotometric(**strong)(torch.rand(2, 4, 8, 8))


def test_intensities_of_other_channels_are_refused():
    with pytest.raises(ConfigError, match="RandomIntensity .* 5 channels"):
        RandomIntensity()(torch.rand(2, 5, 8, 8))


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("training", [True, False])
def test_mean_and_std_of_other_channels_are_refused(channels, training):
    with pytest.raises(ConfigError, match=f"mean has 3 values, .* {channels} channels"):
        build(3)(batch(sample(ramp(0, 255, np.uint8, channels), "labeled")), training=training)


def test_one_mean_for_all_channels_is_fine():
    image = ramp(0, 255, np.uint8, 4)
    made = build(1, 100.0)(batch(sample(image)), training=True)["inputs"].unlabeled
    assert np.array_equal(made.pixels_NCHW[0].numpy(), image.astype(np.float32) - 100)


def test_images_of_different_channels_are_named():
    parts = sample(ramp(0, 255, np.uint8)), sample(ramp(0, 255, np.float32, 1))
    with pytest.raises(DataError, match="'float32.tif' has 1 channels, 'uint8.tif' 3"):
        build(3)(batch(*parts), training=True)


# --- Maps besides the labels ----------------------------------------------------------------------


def test_every_map_is_padded_as_by_mmseg():
    """Edges, depths and own maps of the image's size; a map of another size stays as it is."""
    image, small = ramp(0, 255, np.uint8)[:, :6, :7], torch.ones(2, 3, 3)
    one = sample(image, "labeled", np.zeros((6, 7), np.uint8))
    maps = dict(
        gt_edge_map=torch.ones(1, 6, 7, dtype=torch.int64),
        gt_depth_map=torch.full((1, 6, 7), 0.5),
        heights=torch.ones(3, 6, 7, dtype=torch.uint8),
    )
    for name, data in maps.items():
        setattr(one["data_samples"], name, PixelData(data=data))
    one["data_samples"].coarse = PixelData(data=small)
    got = build(3, seg_pad_val=7)(batch(one), training=True)["inputs"].labeled.samples[0]
    for name, data in maps.items():
        padded = getattr(got, name).data
        assert padded.dtype == data.dtype and padded.shape == (len(data), *SIZE)
        assert torch.equal(padded[:, :6, :7], data)
        assert (padded[:, 6:] == 7).all() and (padded[:, :, 7:] == 7).all()
    assert torch.equal(got.coarse.data, small)
