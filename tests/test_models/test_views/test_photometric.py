# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Photometric operations against torchvision's functional, image by image."""

from __future__ import annotations

import colorsys
import re

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from mmseg.registry import MODELS

from mmsemi.errors import ConfigError
from mmsemi.models.views import StrongPhotometric, photometric


def images(num: int = 5, size: tuple[int, int] = (19, 23)) -> torch.Tensor:
    """Random images; the first has grey, black and white pixels and equal channel pairs."""
    x = torch.rand(num, 3, *size, generator=torch.Generator().manual_seed(3))
    x[0, :, :4] = x[0, :1, :4]
    x[0, :, 4] = 0
    x[0, :, 5] = 1
    x[0, 0, 6:9] = x[0, 1, 6:9]
    x[0, 1, 9:12] = x[0, 2, 9:12]
    return x


FACTORS = torch.tensor([0.0, 0.5, 1.0, 1.3, 1.9])
SHIFTS = torch.tensor([-0.5, -0.2, 0.0, 0.13, 0.5])


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("adjust_brightness", FACTORS),
        ("adjust_contrast", FACTORS),
        ("adjust_saturation", FACTORS),
        ("adjust_hue", SHIFTS),
    ],
)
def test_jitter_equals_torchvision(name, parameters):
    x = images()
    result = getattr(photometric, name)(x, parameters)
    expected = torch.stack([getattr(TF, name)(i, p.item()) for i, p in zip(x, parameters)])
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


def test_grayscale_equals_torchvision():
    expected = TF.rgb_to_grayscale(images(), num_output_channels=3)
    torch.testing.assert_close(photometric.to_grayscale(images()), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kernel_size", [1, 5, 13])
def test_blur_equals_torchvision(kernel_size):
    x, sigmas = images(), torch.tensor([0.1, 0.5, 1.0, 1.5, 2.0])
    result = photometric.gaussian_blur(x, sigmas, kernel_size)
    expected = torch.stack(
        [TF.gaussian_blur(i, [kernel_size] * 2, [s.item()] * 2) for i, s in zip(x, sigmas)]
    )
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kernel_size", [4, 11])
def test_blur_refuses_kernels_that_do_not_fit(kernel_size):
    with pytest.raises(ValueError, match=f"kernel_size={kernel_size}"):
        photometric.gaussian_blur(torch.rand(2, 3, 5, 9), torch.ones(2), kernel_size)


def test_operations_leave_other_images_alone():
    x = images(2)
    apply = torch.tensor([True, False])
    parameters = torch.tensor([0.4, 0.4])
    for name in ("brightness", "contrast", "saturation", "hue"):
        function = getattr(photometric, f"adjust_{name}")
        result = function(x, parameters, apply)
        assert torch.equal(result[1], x[1])
        assert torch.equal(result[0], function(x, parameters)[0])
    assert torch.equal(photometric.to_grayscale(x, apply)[1], x[1])
    assert torch.equal(photometric.gaussian_blur(x, parameters, 3, apply)[1], x[1])


def test_strong_view_is_a_function_of_the_generator():
    strong = MODELS.build(dict(type="StrongPhotometric"))

    def view(seed):
        return strong(images(), torch.Generator().manual_seed(seed))

    assert torch.equal(view(1), view(1))
    assert not torch.equal(view(1), view(2))
    assert view(1).min() >= 0
    assert view(1).max() <= 1 + 1e-6
    global_state = torch.get_rng_state()
    view(1)
    assert torch.equal(torch.get_rng_state(), global_state)


def test_nothing_is_read_back_to_the_host():
    """Tensors without data refuse every host read: `.item()`, `nonzero`, boolean indexing."""
    x = torch.empty(4, 3, 32, 48, device="meta")
    strong = StrongPhotometric()(x)
    assert strong.shape == x.shape


def torchvision_view(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The default strong view, written out with torchvision from the same draws."""
    order = torch.randperm(4, generator=generator).tolist()
    names = ["adjust_brightness", "adjust_contrast", "adjust_saturation", "adjust_hue"]
    views = []
    for image, u in zip(x, torch.rand(8, len(x), generator=generator).T.tolist()):
        parameters = [0.5 + u[0], 0.5 + u[1], 0.5 + u[2], -0.25 + 0.5 * u[3]]
        if u[5] < 0.8:
            for i in order:
                image = getattr(TF, names[i])(image, parameters[i])
        if u[6] < 0.2:
            image = TF.rgb_to_grayscale(image, num_output_channels=3)
        if u[7] < 0.5:
            image = TF.gaussian_blur(image, [13, 13], [0.1 + 1.9 * u[4]] * 2)
        views.append(image)
    return torch.stack(views)


@pytest.fixture(params=["whole batch", "one by one"])
def strong(request, monkeypatch) -> StrongPhotometric:
    """The default view, made in either of the two ways."""
    if request.param == "whole batch":
        monkeypatch.setattr(StrongPhotometric, "_one_by_one", StrongPhotometric._whole_batch)
    return StrongPhotometric()


@pytest.mark.parametrize("size", [(40, 50), (33, 29), (15, 90)])
def test_the_whole_view_equals_torchvision(strong, monkeypatch, size):
    """Both ways, also where a CPU takes the pixels in several blocks or has lines too short."""
    monkeypatch.setattr(photometric, "_CPU_BLOCK", 500)
    for seed in range(4):
        x = images(6, size)
        original = x.clone()
        expected = torchvision_view(x, torch.Generator().manual_seed(seed))
        view = strong(x, torch.Generator().manual_seed(seed))
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)
        assert torch.equal(x, original), "the images were changed"


@pytest.mark.parametrize("size", [(40, 50), (15, 90)])
def test_blur_before_the_rest(strong, size):
    """As CAC: 5 x 5 with sigma 1.1, then colours; what is drawn is the same as behind them."""
    x, settings = images(6, size), dict(sigma=(1.1, 1.1), blur_size=5, p_gray=0.3)
    blurred = torch.stack([TF.gaussian_blur(i, [5, 5], [1.1, 1.1]) for i in x])
    for seed in range(3):
        colours = StrongPhotometric(p_blur=0.0, **settings)
        expected = colours(blurred, torch.Generator().manual_seed(seed))
        first = StrongPhotometric(p_blur=1.0, blur_first=True, **settings)
        view = first(x, torch.Generator().manual_seed(seed))
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)
        last = StrongPhotometric(p_blur=1.0, **settings)(x, torch.Generator().manual_seed(seed))
        view = colours(x, torch.Generator().manual_seed(seed))
        expected = torch.stack([TF.gaussian_blur(i, [5, 5], [1.1, 1.1]) for i in view])
        torch.testing.assert_close(last, expected, atol=1e-5, rtol=0)


def test_views_of_other_memory_layouts_are_the_same(strong):
    x = images(4, (40, 50))
    expected = strong(x, torch.Generator().manual_seed(3))
    for other in (x.contiguous(memory_format=torch.channels_last), x.flip(1).contiguous().flip(1)):
        assert torch.equal(strong(other, torch.Generator().manual_seed(3)), expected)
    double = strong(x.double(), torch.Generator().manual_seed(3))
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), expected, atol=1e-5, rtol=0)


def test_autocast_does_not_round_the_view(strong):
    """Training in mixed precision draws the view under autocast."""
    x = images(8, (40, 50))
    expected = strong(x, torch.Generator().manual_seed(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        view = strong(x, torch.Generator().manual_seed(3))
    assert torch.equal(view, expected)


def test_probabilities_and_ranges_are_kept():
    x = torch.full((4000, 3, 2, 2), 0.5)
    x[:, 0] = 0.25
    untouched = dict(p_jitter=0.0, p_gray=0.0, p_blur=0.0)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(StrongPhotometric(**untouched)(x, generator), x)

    brightness_only = StrongPhotometric(jitter=(0.5, 0, 0, 0), **{**untouched, "p_jitter": 0.8})(
        x, generator
    )
    factor = brightness_only[:, 1, 0, 0] / 0.5
    changed = (factor - 1).abs() > 1e-5
    assert changed.float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert factor.min().item() == pytest.approx(0.5, abs=0.01)
    assert factor.max().item() == pytest.approx(1.5, abs=0.01)
    assert factor[changed].mean().item() == pytest.approx(1.0, abs=0.02)

    gray = StrongPhotometric(**{**untouched, "p_gray": 0.2})(x, generator)
    is_gray = (gray[:, 0] == gray[:, 1]).all(dim=(1, 2))
    assert is_gray.float().mean().item() == pytest.approx(0.2, abs=0.03)


def hue_of(view: torch.Tensor) -> list[float]:
    """Hue of the first pixel of each image, in turns from -0.5 to 0.5."""
    return [(colorsys.rgb_to_hsv(*pixel)[0] + 0.5) % 1 - 0.5 for pixel in view[:, :, 0, 0].tolist()]


@pytest.mark.parametrize(
    ("operation", "colours", "measure", "expected"),
    [
        (1, [[0.4] * 3, [0.6] * 3], lambda v: (v[:, 0, 0, 1] - v[:, 0, 0, 0]) / 0.2, (0.5, 1.5)),
        (2, [[0.5, 0.4, 0.45]], lambda v: (v[:, 0, 0, 0] - v[:, 1, 0, 0]) / 0.1, (0.5, 1.5)),
        (3, [[0.6, 0.2, 0.2]], hue_of, (-0.25, 0.25)),
    ],
    ids=["contrast", "saturation", "hue"],
)
def test_factors_are_uniform_in_their_range(operation, colours, measure, expected):
    """Read from images with one or two colours, in which nothing is clipped."""
    x = torch.tensor(colours).T[None, :, None, :].repeat(1500, 1, 2, 2)
    jitter = [0.0] * 4
    jitter[operation] = 0.25 if operation == 3 else 0.5
    strong = StrongPhotometric(jitter, p_jitter=1.0, p_gray=0.0, p_blur=0.0)
    drawn = np.asarray(measure(strong(x, torch.Generator().manual_seed(0))))
    low, high = expected
    drawn = (drawn - low) / (high - low)
    assert drawn.min() == pytest.approx(0, abs=0.01) and drawn.max() == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(np.quantile(drawn, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.05)


def test_sigmas_are_uniform_in_their_range_and_blur_has_its_probability():
    """Read from the peak of a blurred point, whose height tells sigma."""
    x = torch.zeros(1000, 3, 13, 13)
    x[:, :, 6, 6] = 1

    def peaks(**settings) -> torch.Tensor:
        strong = StrongPhotometric(p_jitter=0.0, p_gray=0.0, **settings)
        return strong(x, torch.Generator().manual_seed(0))[:, 0, 6, 6]

    height = peaks(p_blur=1.0)
    taps = np.arange(-6, 7)
    for share in (0.25, 0.5, 0.75):
        sigma = 0.1 + 1.9 * share
        limit = 1 / np.exp(-0.5 * (taps / sigma) ** 2).sum() ** 2
        assert (height > limit).float().mean().item() == pytest.approx(share, abs=0.05)
    unblurred = peaks(p_blur=0.5, sigma=(1.0, 2.0)) == 1
    assert unblurred.float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_all_orders_of_the_jitter_occur():
    """24 orders, told apart by what they make of one picture at fixed strengths."""
    x = images(2, (6, 6))[1:]
    strong = StrongPhotometric(p_jitter=1.0, p_gray=0.0, p_blur=0.0)
    strong.ranges = torch.tensor([[1.4] * 2, [1.4] * 2, [0.5] * 2, [0.2] * 2, [1.0] * 2])
    generator = torch.Generator().manual_seed(0)
    results = {tuple(strong(x, generator).mul(1e4).round().flatten().tolist()) for _ in range(400)}
    assert len(results) == 24


def test_draws_do_not_depend_on_probabilities():
    """Without blur, the images whose grayscale was drawn stay the same ones."""
    with_blur = StrongPhotometric(p_jitter=0, p_gray=0.5, p_blur=1.0)
    without = StrongPhotometric(p_jitter=0, p_gray=0.5, p_blur=0.0)
    grays = [
        (view[:, 0] - view[:, 1]).abs().amax(dim=(1, 2)) < 1e-6
        for view in (s(images(20), torch.Generator().manual_seed(4)) for s in (with_blur, without))
    ]
    assert torch.equal(*grays)
    assert 0 < grays[0].sum() < 20


def test_images_smaller_than_the_kernel_are_blurred_to_their_border():
    x = torch.rand(2, 3, 3, 40)
    result = StrongPhotometric(p_jitter=0, p_gray=0, p_blur=1)(x, torch.Generator())
    assert result.shape == x.shape
    assert result.isfinite().all()


@pytest.mark.parametrize(
    "arguments",
    [
        dict(jitter=(0.5, 0.5, 0.5)),
        dict(jitter=(0.5, 0.5, 0.5, 0.6)),
        dict(p_gray=1.2),
        dict(sigma=(0.0, 2.0)),
        dict(sigma=(2.0, 0.1)),
        dict(blur_size=4),
    ],
)
def test_bad_arguments_are_refused(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ConfigError, match=re.escape(f"StrongPhotometric: {name}={value}")):
        StrongPhotometric(**arguments)


def test_integer_images_are_refused():
    with pytest.raises(ValueError, match=r"float \(N, C, H, W\)"):
        StrongPhotometric()(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
