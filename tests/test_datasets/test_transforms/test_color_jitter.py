# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""torchvision's jitter on images as the loader gives them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmseg.registry import TRANSFORMS
from PIL import Image
from torchvision.transforms import ColorJitter as PillowColorJitter

from mmsemi.datasets.pipelines import seeded, weak_pipeline
from mmsemi.errors import ConfigError

STRENGTHS = dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)


def test_it_is_torchvision_on_rgb():
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    jitter = TRANSFORMS.build(dict(type="ColorJitter", **STRENGTHS))
    with seeded(3):
        found = jitter(dict(img=image.copy()))["img"]
    torch.manual_seed(3)
    expected = PillowColorJitter(**STRENGTHS)(Image.fromarray(image[..., ::-1]))
    assert np.array_equal(found[..., ::-1], np.asarray(expected))
    assert found.flags["C_CONTIGUOUS"] and not np.array_equal(found, image)


def test_unlabelled_images_do_not_get_it():
    """They get their colours in the step."""
    steps = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="ColorJitter")]
    kept = weak_pipeline(
        dict(type="BaseSegDataset", pipeline=[*steps, dict(type="PackSemiInputs")])
    )
    assert [step["type"] for step in kept] == ["LoadImageFromFile", "PackSemiInputs"]


@pytest.mark.parametrize("strength", [dict(hue=0.6), dict(contrast=-0.1)])
def test_strengths_out_of_range_are_refused(strength):
    ((name, value),) = strength.items()
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        TRANSFORMS.build(dict(type="ColorJitter", **strength))


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint16)])
def test_other_images_are_refused(image):
    with pytest.raises(ConfigError, match="8-bit"):
        TRANSFORMS.build(dict(type="ColorJitter"))(dict(img=image))
