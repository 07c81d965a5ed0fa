# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""From collated samples to a SemiBatch: pixels, padding, labels, sources, randomness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmsemi.errors import ConfigError, DataError
from mmsemi.models.preprocessor import merge_preprocessors
from mmsemi.models.views import StrongPhotometric
from mmsemi.structures import SemiBatch


def sample(source: str, height: int, width: int, seed: int, mask: bool | None = None) -> dict:
    """A packed sample with known pixels; its mask is the row number modulo 3."""
    generator = np.random.default_rng(seed)
    image = torch.from_numpy(generator.integers(0, 256, (3, height, width), dtype=np.uint8))
    data_sample = SegDataSample(
        metainfo=dict(img_path=f"{source}{seed}.png", source=source, draw_seed=seed)
    )
    if mask if mask is not None else source != "unlabeled":
        rows = (torch.arange(height, dtype=torch.uint8) % 3)[:, None].expand(height, width)
        data_sample.gt_sem_seg = PixelData(data=rows[None].contiguous())
    return dict(inputs=image, data_samples=data_sample)


def batch(*samples: dict) -> dict:
    return {key: [one[key] for one in samples] for key in ("inputs", "data_samples")}


def normalised(image: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor([120.0, 110.0, 100.0]), torch.tensor([60.0, 55.0, 50.0])
    return (image.flip(0).float() - mean[:, None, None]) / std[:, None, None]


def make_batch(config: dict, *samples: dict) -> SemiBatch:
    out = MODELS.build(config)(batch(*samples), training=True)
    assert set(out) == {"inputs", "data_samples"} and out["data_samples"] is None
    return out["inputs"]


def test_pixels_padding_and_labels(preprocessor_config):
    first, second = sample("labeled", 32, 20, 1), sample("unlabeled", 30, 32, 2)
    made = make_batch(preprocessor_config, first, second, sample("unlabeled", 32, 32, 3))
    x, u = made.labeled, made.unlabeled
    assert (len(x), len(u)) == (1, 2) and made.sources == {}
    assert x.size_hw == u.size_hw == (32, 32)
    torch.testing.assert_close(x.pixels_NCHW[0, :, :, :20], normalised(first["inputs"]))
    assert (x.pixels_NCHW[0, :, :, 20:] == 0).all(), "padding is the mean colour"
    torch.testing.assert_close(u.pixels_NCHW[0, :, :30], normalised(second["inputs"]))
    assert u.rgb_NCHW.dtype == torch.uint8, "it crosses to the device as it was loaded"
    assert torch.equal(u.rgb_NCHW[0, :, :30], second["inputs"].flip(0))
    want = torch.ones(2, 32, 32, dtype=torch.bool)
    want[0, 30:] = False
    assert torch.equal(u.valid_NHW, want)
    assert torch.equal(x.valid_NHW[0], torch.arange(32).expand(32, 32) < 20)
    assert x.labels_NHW.dtype == torch.int64 and x.labels_NHW.shape == (1, 32, 32)
    assert (x.labels_NHW[..., 20:] == 255).all()
    assert x.labels_NHW[0, :4, 0].tolist() == [0, 1, 2, 0]
    assert u.labels_NHW is None
    (padded,) = x.samples
    assert padded.img_shape == (32, 20) and padded.pad_shape == (32, 32)
    assert padded.padding_size == [0, 12, 0, 0]
    assert torch.equal(padded.gt_sem_seg.data, x.labels_NHW), (
        "heads with a loss of their own read it"
    )
    assert u.paths == ["unlabeled2.png", "unlabeled3.png"]


def test_the_source_decides_not_the_mask(preprocessor_config):
    masked = sample("unlabeled", 32, 32, 2, mask=True)
    made = make_batch(
        preprocessor_config, sample("labeled", 32, 32, 1), masked, sample("gt", 32, 32, 3)
    )
    assert len(made.labeled) == len(made.unlabeled) == 1 and made.unlabeled.labels_NHW is None
    assert set(made.sources) == {"gt"} and made.sources["gt"].pixels_NCHW.shape == (1, 3, 32, 32)
    assert made.sources["gt"].labels_NHW[0, :4, 0].tolist() == [0, 1, 2, 0]
    assert made.sources["gt"].samples[0].gt_sem_seg.data.dtype == torch.int64


def test_masks_that_are_missing_name_the_image(preprocessor_config):
    """A further source has masks, or none at all."""
    labeled = sample("labeled", 32, 32, 1)
    for missing in (
        [sample("labeled", 32, 32, 9, mask=False)],
        [labeled, sample("gt", 32, 32, 2), sample("gt", 32, 32, 9, mask=False)],
    ):
        name = missing[-1]["data_samples"].img_path
        with pytest.raises(DataError, match=f"'{name}' .*LoadAnnotations"):
            make_batch(preprocessor_config, *missing)
    made = make_batch(preprocessor_config, labeled, sample("gt", 32, 32, 9, mask=False))
    assert made.sources["gt"].labels_NHW is None


def test_sources_that_are_absent_are_none(preprocessor_config):
    made = make_batch(preprocessor_config, sample("labeled", 32, 32, 1))
    assert made.unlabeled is None and made.generator is None
    made = make_batch(preprocessor_config, sample("unlabeled", 32, 32, 1))
    assert made.labeled is None and len(made.unlabeled) == 1


def test_interleaved_sources_are_gathered(preprocessor_config):
    parts = [sample(name, 32, 32, i) for i, name in enumerate(["unlabeled", "labeled"] * 2)]
    made = make_batch(preprocessor_config, *parts)
    torch.testing.assert_close(made.labeled.pixels_NCHW[1], normalised(parts[3]["inputs"]))
    torch.testing.assert_close(made.unlabeled.pixels_NCHW[1], normalised(parts[2]["inputs"]))
    assert torch.equal(made.unlabeled.rgb_NCHW[1], parts[2]["inputs"].flip(0))
    assert made.unlabeled.paths == ["unlabeled0.png", "unlabeled2.png"]


def test_a_source_is_a_view_of_the_batch(preprocessor_config):
    """Stacked, sent and normalised once: the sampler delivers sources side by side."""
    parts = [sample("labeled", 32, 32, 1), *(sample("unlabeled", 32, 32, i) for i in (2, 3))]
    made = make_batch(preprocessor_config, *parts)
    for name in ("pixels_NCHW", "rgb_NCHW", "valid_NHW"):
        labeled, unlabeled = (getattr(part, name) for part in (made.labeled, made.unlabeled))
        assert labeled.data_ptr() + labeled.nbytes == unlabeled.data_ptr(), name


# --- Randomness and views -------------------------------------------------------------------------


def test_randomness_is_a_function_of_the_draws(preprocessor_config):
    """Not of the global generator, and not the numbers that the worker drew its crop from."""

    def numbers(seed: int) -> torch.Tensor:
        labeled, unlabeled = sample("labeled", 32, 32, 1), sample("unlabeled", 32, 32, seed)
        return torch.rand(
            4, generator=make_batch(preprocessor_config, labeled, unlabeled).generator
        )

    torch.manual_seed(1)
    first = numbers(10)
    torch.manual_seed(2)
    assert torch.equal(numbers(10), first) and not torch.equal(numbers(20), first)
    assert not torch.equal(torch.rand(4, generator=torch.Generator().manual_seed(10)), first)


def test_samples_without_a_draw_use_the_global_generator(preprocessor_config):
    unlabeled = sample("unlabeled", 32, 32, 2)
    del unlabeled["data_samples"].draw_seed
    made = make_batch(preprocessor_config, sample("labeled", 32, 32, 1), unlabeled)
    assert made.generator is None


def test_a_photometric_view_starts_from_the_raw_image(preprocessor_config):
    """Values in [0, 1] go in, normalised ones come out; padding stays the mean colour."""
    model = MODELS.build(preprocessor_config)
    parts = [sample("unlabeled", 20, 32, 5), sample("unlabeled", 32, 32, 6)]
    made = model(batch(sample("labeled", 32, 32, 1), *parts), training=True)["inputs"]
    seen = []

    def darker(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        seen.append((x, generator))
        return x / 2

    view = model.photometric_view(made.unlabeled, darker, made.generator)
    ((x, generator),) = seen
    assert generator is made.generator
    torch.testing.assert_close(x[1], parts[1]["inputs"].flip(0) / 255)
    half = model.normalize(made.unlabeled.rgb_NCHW / 2, made.unlabeled.valid_NHW)
    torch.testing.assert_close(view, half)
    assert (view[0, :, 20:] == 0).all() and (made.unlabeled.pixels_NCHW[0, :, 20:] == 0).all()

    strong = StrongPhotometric(p_jitter=1.0)
    view = model.photometric_view(made.unlabeled, strong, made.generator)
    assert not torch.allclose(view[0, :, :20], made.unlabeled.pixels_NCHW[0, :, :20])
    assert (view[0, :, 20:] == 0).all()


def test_normalisation_in_numbers(preprocessor_config):
    model = MODELS.build({**preprocessor_config, "pad_val": 3})
    rgb = torch.tensor([120, 220, 0]).view(1, 3, 1, 1).expand(1, 3, 1, 2).to(torch.uint8)
    found = model.normalize(rgb, torch.tensor([[[True, False]]]))
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([0, 2.0, -2.0]))
    assert (found[0, :, 0, 1] == 3).all()
    assert found.dtype == torch.float32


# --- Sizes and settings ---------------------------------------------------------------------------


def test_an_image_larger_than_the_batch_is_named(preprocessor_config):
    parts = [sample("labeled", 32, 32, 1), sample("unlabeled", 40, 32, 2)]
    with pytest.raises(
        DataError, match=r"'unlabeled2.png' is 40x32 .*RandomCrop\(crop_size=\(32, 32\)"
    ):
        make_batch(preprocessor_config, *parts)


def test_size_divisor_and_free_size(preprocessor_config):
    config = {**preprocessor_config, "size": None, "size_divisor": 16}
    made = make_batch(config, sample("labeled", 30, 17, 1))
    assert made.labeled.pixels_NCHW.shape == (1, 3, 32, 32)
    config["size_divisor"] = None
    made = make_batch(config, sample("labeled", 30, 17, 1), sample("labeled", 20, 19, 2))
    assert made.labeled.pixels_NCHW.shape == (2, 3, 30, 19)


@pytest.mark.parametrize("name", ["strong", "mix", "num_student_views", "men"])
def test_settings_that_it_does_not_have_are_refused(preprocessor_config, name):
    """Views and mixes are the method's."""
    with pytest.raises(ConfigError, match=f"data_preprocessor .*'{name}'"):
        MODELS.build({**preprocessor_config, name: dict(type="CutMix")})


OURS = "SemiSegDataPreProcessor"
BOTH = dict(type=OURS, size=9, mean=[1])


@pytest.mark.parametrize(
    ("inner", "outer", "merged"),
    [
        (None, None, None),
        (None, {}, dict(type=OURS)),
        (dict(type="SegDataPreProcessor", size=8), None, dict(type=OURS, size=8)),
        (dict(size=8, mean=[1]), dict(size=9), BOTH),
        (dict(size=8, mean=[1]), dict(type="Other", size=9), dict(type="Other", size=9)),
        (dict(size=8, mean=[1]), dict(type="mmseg.SegDataPreProcessor", size=9), BOTH),
        (dict(size=8, mean=[1]), dict(type=SegDataPreProcessor, size=9), BOTH),
    ],
)
def test_two_configs_of_it_become_one(inner, outer, merged):
    """mmseg's own type is what a runner puts into the model from the top of a stock config."""
    assert merge_preprocessors(inner, outer) == merged


def test_outside_training_it_is_the_stock_preprocessor(preprocessor_config):
    stock = {k: v for k, v in preprocessor_config.items() if k != "type"}
    stock = MODELS.build(dict(type="SegDataPreProcessor", **stock))
    one = sample("labeled", 30, 20, 1)
    ours = MODELS.build(preprocessor_config)(batch(one), training=False)
    theirs = stock(batch(one), training=False)
    assert torch.equal(ours["inputs"], theirs["inputs"]) and ours["inputs"].shape == (1, 3, 30, 20)
