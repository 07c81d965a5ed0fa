# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The operations of AugSeg's strong view against Pillow, and how they are drawn.

Known answers: docs/methods/augseg.md#strengths and #operations.
"""

from __future__ import annotations

import collections
import re

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from recorded import make_images
from torch import Tensor
from watchers import Waits

from mmsemi.errors import ConfigError
from mmsemi.models import SemiSegDataPreProcessor
from mmsemi.models.views import RandomIntensity, StrongPhotometric
from mmsemi.models.views.random_intensity import OPERATIONS, shift_hue


def to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def pillow_hue(image: Image.Image, turns: float) -> Image.Image:
    hue, *others = image.convert("HSV").split()
    shifted = (np.array(hue, np.int64) + int(255 * turns)) % 256
    hue = Image.fromarray(shifted.astype(np.uint8))
    return Image.merge("HSV", (hue, *others)).convert("RGB")


PILLOW = dict(
    identity=lambda image, _: image,
    autocontrast=lambda image, _: ImageOps.autocontrast(image),
    equalize=lambda image, _: ImageOps.equalize(image),
    blur=lambda image, sigma: image.filter(ImageFilter.GaussianBlur(sigma)),
    contrast=lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    brightness=lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    color=lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    sharpness=lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    posterize=ImageOps.posterize,
    solarize=ImageOps.solarize,
    hue=pillow_hue,
)


def pictures() -> list[Image.Image]:
    """Noise and smooth pictures of full and of narrow range, of odd sizes, and flat ones."""
    generator = np.random.default_rng(0)
    found = []
    for height, width in ((61, 47), (40, 96), (7, 5), (3, 3), (2, 9)):
        for low, high in ((0, 256), (30, 200), (100, 108), (77, 78)):
            noise = generator.integers(low, high, (height, width, 3)).astype(np.uint8)
            image = Image.fromarray(noise)
            found += [image, image.resize((3 * width, 3 * height), Image.Resampling.BICUBIC)]
    return found


# --- The operations -------------------------------------------------------------------------------


def test_the_operations_are_those_of_the_paper():
    assert OPERATIONS.keys() == PILLOW.keys() and len(OPERATIONS) == 11
    assert RandomIntensity().operations == list(OPERATIONS)


@pytest.mark.parametrize("name", PILLOW)
def test_operations_equal_pillow(name):
    """Bit for bit; a machine that fuses products and sums may cut off another last bit, rarely."""
    generator = np.random.default_rng(1)
    differing = total = 0
    for image in pictures():
        strength = OPERATIONS[name].strength(generator.random(), generator.choice([-1, 1]))
        x = to_tensor(image)
        original = x.clone()
        found = OPERATIONS[name].apply(x, strength)
        assert found.dtype == torch.uint8 and torch.equal(x, original), "the image was changed"
        difference = (found.int() - to_tensor(PILLOW[name](image, strength)).int()).abs()
        assert difference.max() <= 1
        differing += (difference > 0).sum().item()
        total += difference.numel()
    assert differing <= total / 10_000


def test_hue_of_all_colours_equals_pillow():
    """On every eighth colour of the cube, and all shades between three of its corners."""
    steps = np.arange(0, 256, 8)
    cube = np.stack(np.meshgrid(steps, steps, steps + 7, indexing="ij"), -1).reshape(-1, 256, 3)
    shades = np.stack(np.meshgrid([255], np.arange(256), np.arange(256), indexing="ij"), -1)[0]
    for colours in (cube, shades, shades[..., ::-1], shades[..., [1, 0, 2]]):
        image = Image.fromarray(np.ascontiguousarray(colours).astype(np.uint8))
        for turns in (0.0, 0.31, -0.4995):
            found = shift_hue(to_tensor(image), turns)
            assert torch.equal(found, to_tensor(pillow_hue(image, turns))), turns


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("contrast", [0.95, 0.86, 0.68, 0.41, 0.14, 0.0509]),
        ("brightness", [0.95, 0.86, 0.68, 0.41, 0.14, 0.0509]),
        ("color", [0.95, 0.86, 0.68, 0.41, 0.14, 0.0509]),
        ("sharpness", [0.95, 0.86, 0.68, 0.41, 0.14, 0.0509]),
        ("posterize", [7, 7, 6, 5, 4, 4]),
        ("solarize", [255, 230, 179, 103, 26, 1]),
        ("hue", [0, 0.05, 0.15, 0.3, 0.45, 0.4995]),
        ("blur", [0.1, 0.29, 0.67, 1.24, 1.81, 1.9981]),
    ],
)
def test_strengths(name, expected):
    """docs/methods/augseg.md#strengths"""
    strength = OPERATIONS[name].strength
    uniforms = (0, 0.1, 0.3, 0.6, 0.9, 0.999)
    assert [strength(u, 1) for u in uniforms] == pytest.approx(expected)
    if name == "hue":
        assert [strength(u, -1) for u in uniforms] == pytest.approx([-x for x in expected])


@pytest.mark.parametrize(
    ("name", "strength", "expected"),
    [
        ("brightness", 0.5, [(100, 50, 25), (5, 10, 15), (127, 0, 63), (45, 45, 45)]),
        ("color", 0.5, [(162, 112, 87), (14, 19, 24), (173, 45, 109), (90, 90, 90)]),
        ("contrast", 0.5, [(140, 90, 65), (45, 50, 55), (168, 40, 104), (85, 85, 85)]),
        ("posterize", 4, [(192, 96, 48), (0, 16, 16), (240, 0, 112), (80, 80, 80)]),
        ("solarize", 128, [(55, 100, 50), (10, 20, 30), (0, 0, 127), (90, 90, 90)]),
        ("hue", 0.25, [(78, 200, 50), (29, 10, 30), (255, 240, 0), (90, 90, 90)]),
    ],
)
def test_operations_by_hand(name, strength, expected):
    """docs/methods/augseg.md#operations"""
    pixels = [(200, 100, 50), (10, 20, 30), (255, 0, 127), (90, 90, 90)]
    x = torch.tensor(pixels, dtype=torch.uint8).T[:, None]
    found = OPERATIONS[name].apply(x, strength)
    assert [tuple(pixel) for pixel in found[:, 0].T.tolist()] == expected


def test_hue_goes_round_the_circle():
    """A quarter of a turn is 63 of 256 forwards, or 193 backwards."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8))
    for turns, steps in ((0.25, 63), (-0.25, 193)):
        hue, *others = image.convert("HSV").split()
        hue = Image.fromarray(((np.array(hue, np.int64) + steps) % 256).astype(np.uint8))
        expected = Image.merge("HSV", (hue, *others)).convert("RGB")
        assert torch.equal(shift_hue(to_tensor(image), turns), to_tensor(expected))


# --- The view -------------------------------------------------------------------------------------


def images(num: int = 6, size: tuple[int, int] = (21, 26)) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (num, 3, *size), generator=generator).float() / 255


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_view_is_the_drawn_operations_one_after_the_other():
    """With Pillow, on an image of its own for each of a batch."""
    x, intensity = images(24), MODELS.build(dict(type="RandomIntensity"))
    original, plans = x.clone(), intensity.draw(24, seeded(5))
    assert {len(plan) for plan in plans} == {1, 2, 3}
    view = intensity(x, seeded(5))
    assert view.shape == x.shape and view.dtype == x.dtype and torch.equal(x, original)
    for image, plan, found in zip(x, plans, view):
        array = (image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        expected = Image.fromarray(array)
        for name, strength in plan:
            expected = PILLOW[name](expected, strength)
        torch.testing.assert_close(found * 255, to_tensor(expected).float(), atol=1.01, rtol=0)
        assert (found * 255 - to_tensor(expected)).abs().mean() < 0.01, plan


def test_operations_and_strengths_are_uniform():
    """1, 2 or 3 operations, with replacement; P(one occurs) = 0.1710, P(image unchanged) = 0.0333."""
    plans = RandomIntensity().draw(30_000, seeded(0))
    numbers = collections.Counter(len(plan) for plan in plans)
    assert all(numbers[n] / 30_000 == pytest.approx(1 / 3, abs=0.01) for n in (1, 2, 3))
    kinds = [[name for name, _ in plan] for plan in plans]
    for name in OPERATIONS:
        occurs = np.mean([name in drawn for drawn in kinds])
        assert occurs == pytest.approx(0.1710, abs=0.01), name
    unchanged = np.mean([set(drawn) == {"identity"} for drawn in kinds])
    assert unchanged == pytest.approx(0.0333, abs=0.004)
    assert np.mean([{"posterize", "solarize"} & set(drawn) != set() for drawn in kinds]) == (
        pytest.approx(0.3216, abs=0.01)
    )
    assert any(len(set(drawn)) < len(drawn) for drawn in kinds)
    hue = [strength for plan in plans for name, strength in plan if name == "hue"]
    assert np.quantile(hue, [0.25, 0.5, 0.75]) == pytest.approx([-0.25, 0, 0.25], abs=0.02)
    bits = collections.Counter(s for plan in plans for name, s in plan if name == "posterize")
    assert sorted(bits) == [4, 5, 6, 7]
    assert min(bits.values()) / sum(bits.values()) == pytest.approx(0.25, abs=0.02)


def test_settings_choose_number_and_operations():
    fixed = RandomIntensity(2, random_num=False, operations=["hue", "contrast"])
    plans = fixed.draw(200, seeded(0))
    assert {len(plan) for plan in plans} == {2}
    assert {name for plan in plans for name, _ in plan} == {"hue", "contrast"}


def test_a_view_is_a_function_of_the_generator():
    intensity = RandomIntensity()
    assert torch.equal(intensity(images(), seeded(1)), intensity(images(), seeded(1)))
    assert not torch.equal(intensity(images(), seeded(1)), intensity(images(), seeded(2)))
    state = torch.get_rng_state()
    intensity(images(), seeded(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_number_of_draws_depends_on_the_batch_only():
    states = []
    for intensity in (RandomIntensity(), RandomIntensity(1, False, ["blur"])):
        generator = seeded(4)
        intensity(images(), generator)
        states.append(generator.get_state())
    assert torch.equal(*states)


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_is_read_back_to_the_host(name):
    """On tensors without data, and by the operations that are called."""
    intensity = RandomIntensity(1, operations=[name])
    shape = (2, 3, 32, 48)
    assert intensity(torch.empty(shape, device="meta"), seeded(0)).shape == shape
    with Waits() as waits:
        intensity(images(), seeded(0))
    assert not waits.found


@pytest.mark.parametrize("layout", ["channels last", "flipped", "double", "autocast"])
def test_views_of_other_layouts_and_types_are_the_same(layout):
    """Training in mixed precision draws the view under autocast."""
    x, intensity = images(20), RandomIntensity()
    expected = intensity(x, seeded(3))
    if layout == "channels last":
        found = intensity(x.contiguous(memory_format=torch.channels_last), seeded(3))
    elif layout == "flipped":
        found = intensity(x.flip(1).contiguous().flip(1), seeded(3))
    elif layout == "double":
        found = intensity(x.double(), seeded(3))
        assert found.dtype == torch.float64
        found = found.float()
    else:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = intensity(x, seeded(3))
    assert torch.equal(found, expected)


def test_padding_has_the_mean_colour():
    """An image that fills half of its crop has the same view as one that the mean colour fills up."""
    mean = [123.675, 116.28, 103.53]
    preprocessor = SemiSegDataPreProcessor(mean=mean, std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
    pixels = torch.randint(100, 200, (1, 3, 20, 20), generator=seeded(0))
    padded, filled = (make_images(torch.zeros(1, 3, 20, 20)) for _ in range(2))
    padded.valid_NHW[..., 10:] = False
    padded.rgb_NCHW = pixels * padded.valid_NHW[:, None]
    colour = torch.tensor([123, 116, 103]).view(1, 3, 1, 1)
    filled.rgb_NCHW = torch.where(padded.valid_NHW[:, None], pixels, colour)
    for name in ("autocontrast", "equalize", "contrast"):
        intensity = RandomIntensity(1, operations=[name])
        first, second = (
            preprocessor.photometric_view(one, intensity, seeded(0)) for one in (padded, filled)
        )
        assert torch.equal(first[..., :10], second[..., :10]), name
        assert not first[..., 10:].any(), "padding is 0 behind the normalisation"
    assert not getattr(StrongPhotometric, "pads_with_mean", False), "other views see it black"


@pytest.mark.parametrize(
    "arguments", [dict(num_ops=0), dict(operations=[]), dict(operations=["blur", "huge"])]
)
def test_bad_arguments_are_refused(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ConfigError, match=re.escape(f"RandomIntensity: {name}={value}")):
        MODELS.build(dict(type="RandomIntensity", **arguments))


def test_integer_images_are_refused():
    with pytest.raises(ValueError, match=r"float \(N, 3, H, W\)"):
        RandomIntensity()(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
