# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Photometric operations against torchvision's functional, image by image."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.functional as TF
from mmseg.registry import MODELS

from mmsemi.models import augment
from mmsemi.models.augment import CutMix, StrongPhotometric


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
    result = getattr(augment, name)(x, parameters)
    expected = torch.stack([getattr(TF, name)(i, p.item()) for i, p in zip(x, parameters)])
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


def test_grayscale_equals_torchvision():
    expected = TF.rgb_to_grayscale(images(), num_output_channels=3)
    torch.testing.assert_close(augment.to_grayscale(images()), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kernel_size", [1, 5, 13])
def test_blur_equals_torchvision(kernel_size):
    x, sigmas = images(), torch.tensor([0.1, 0.5, 1.0, 1.5, 2.0])
    result = augment.gaussian_blur(x, sigmas, kernel_size)
    expected = torch.stack(
        [TF.gaussian_blur(i, [kernel_size] * 2, [s.item()] * 2) for i, s in zip(x, sigmas)]
    )
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kernel_size", [4, 11])
def test_blur_refuses_kernels_that_do_not_fit(kernel_size):
    with pytest.raises(ValueError, match=f"kernel_size={kernel_size}"):
        augment.gaussian_blur(torch.rand(2, 3, 5, 9), torch.ones(2), kernel_size)


def test_operations_leave_other_images_alone():
    x = images(2)
    apply = torch.tensor([True, False])
    parameters = torch.tensor([0.4, 0.4])
    for name in ("brightness", "contrast", "saturation", "hue"):
        function = getattr(augment, f"adjust_{name}")
        result = function(x, parameters, apply)
        assert torch.equal(result[1], x[1])
        assert torch.equal(result[0], function(x, parameters)[0])
    assert torch.equal(augment.to_grayscale(x, apply)[1], x[1])
    assert torch.equal(augment.gaussian_blur(x, parameters, 3, apply)[1], x[1])


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
    recipe = CutMix()(list("abcd"), (32, 48)).to("meta")
    assert recipe.apply(strong).shape == (2, 3, 32, 48)


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
    ],
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="StrongPhotometric"):
        StrongPhotometric(**arguments)


def test_integer_images_are_refused():
    with pytest.raises(ValueError, match=r"float \(N, 3, H, W\)"):
        StrongPhotometric()(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
