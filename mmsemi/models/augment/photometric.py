# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Photometric operations on a batch of images, with parameters per image.

Each function takes images (N, 3, H, W), RGB in [0, 1], one parameter per image (N,) and optionally
a bool (N,) that says which images it is applied to; all on one device. At equal parameters it
equals torchvision's functional.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Generator, Tensor


def _per_image(parameter_N: Tensor, x: Tensor) -> Tensor:
    """Shape a parameter per image for broadcasting over (N, 3, H, W)."""
    return parameter_N.to(x.dtype).view(-1, 1, 1, 1)


def _keep_others(x: Tensor, changed: Tensor, apply_N: Tensor | None) -> Tensor:
    """Take ``changed`` where the operation was drawn for the image, else ``x``."""
    return changed if apply_N is None else torch.where(apply_N.view(-1, 1, 1, 1), changed, x)


def _luma(x: Tensor) -> Tensor:
    """ITU-R 601 luma, (N, 1, H, W), with torchvision's rounding of the weights."""
    red, green, blue = x.unbind(dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def adjust_brightness(x: Tensor, factor_N: Tensor, apply_N: Tensor | None = None) -> Tensor:
    """Scale towards black: 0 gives black, 1 the image; clipped to [0, 1]."""
    return _keep_others(x, (x * _per_image(factor_N, x)).clamp(0, 1), apply_N)


def adjust_contrast(x: Tensor, factor_N: Tensor, apply_N: Tensor | None = None) -> Tensor:
    """Blend with the image's mean grey: 0 gives flat grey, 1 the image; clipped to [0, 1]."""
    factor = _per_image(factor_N, x)
    mean_grey = _luma(x).mean(dim=(1, 2, 3), keepdim=True)
    return _keep_others(x, (factor * x + (1 - factor) * mean_grey).clamp(0, 1), apply_N)


def adjust_saturation(x: Tensor, factor_N: Tensor, apply_N: Tensor | None = None) -> Tensor:
    """Blend with the grey image: 0 gives grey, 1 the image; clipped to [0, 1]."""
    factor = _per_image(factor_N, x)
    return _keep_others(x, (factor * x + (1 - factor) * _luma(x)).clamp(0, 1), apply_N)


def adjust_hue(x: Tensor, shift_N: Tensor, apply_N: Tensor | None = None) -> Tensor:
    """Turn the hue circle by ``shift_N`` full turns, in [-0.5, 0.5]."""
    red, green, blue = x.unbind(dim=1)
    value = x.amax(dim=1)
    chroma = value - x.amin(dim=1)
    divisor = torch.where(chroma == 0, torch.ones_like(chroma), chroma)
    # Hue in sixths of a turn; a grey pixel's is arbitrary because its chroma is 0.
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    hue = hue + 6 * shift_N.to(x.dtype).view(-1, 1, 1)
    # Channel = value - chroma * clip(min(k, 4 - k), 0, 1), k = (n + hue) mod 6, n = 5, 3, 1.
    offsets = torch.arange(5, 0, -2, device=x.device, dtype=x.dtype).view(1, 3, 1, 1)
    k = (offsets + hue.unsqueeze(1)).remainder(6)
    changed = value.unsqueeze(1) - chroma.unsqueeze(1) * k.minimum(4 - k).clamp(0, 1)
    return _keep_others(x, changed, apply_N)


def to_grayscale(x: Tensor, apply_N: Tensor | None = None) -> Tensor:
    """Replace the colours by the luma in all three channels."""
    return _keep_others(x, _luma(x).expand_as(x), apply_N)


def gaussian_blur(
    x: Tensor, sigma_N: Tensor, kernel_size: int, apply_N: Tensor | None = None
) -> Tensor:
    """Blur with a Gaussian per image, separably, with reflected borders.

    Args:
        x: (N, 3, H, W).
        sigma_N: Standard deviations in pixels, > 0.
        kernel_size: Odd width of the (common) kernel, at most 2 min(H, W) - 1.
        apply_N: Images to blur; None for all.
    """
    num_images, channels, height, width = x.shape
    radius = kernel_size // 2
    if kernel_size % 2 == 0 or radius >= min(height, width):
        raise ValueError(
            f"gaussian_blur: kernel_size={kernel_size} must be odd and at most "
            f"{2 * min(height, width) - 1} for images of {height}x{width}"
        )
    taps = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (taps / sigma_N.to(x.dtype)[:, None]).square())
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    kernel = kernel.repeat_interleave(channels, dim=0)[:, None]  # (N*3, 1, kernel_size)
    # One group per image and channel gives every image its own kernel.
    blurred = x.reshape(1, num_images * channels, height, width)
    blurred = F.pad(blurred, (radius, radius, radius, radius), mode="reflect")
    blurred = F.conv2d(blurred, kernel[:, :, :, None], groups=num_images * channels)
    blurred = F.conv2d(blurred, kernel[:, :, None, :], groups=num_images * channels)
    return _keep_others(x, blurred.view_as(x), apply_N)


@MODELS.register_module()
class StrongPhotometric:
    """Colour jitter, grayscale and blur, each with a probability and parameters per image.

    The strong view of the consistency methods (FixMatch for segmentation, UniMatch). Jitter applies
    brightness, contrast, saturation and hue in a random order, drawn per batch (torchvision: per
    image); everything else is drawn per image.

    The blur kernel reaches 3 times the largest sigma (13 pixels wide for sigma <= 2), or the image
    border if that is nearer.

    Args:
        jitter: Strengths (brightness, contrast, saturation, hue): factors uniform in
            [max(0, 1 - s), 1 + s], hue shift uniform in [-s, s] turns, s <= 0.5.
        p_jitter: Probability of jitter, for all four together.
        p_gray: Probability of grayscale.
        p_blur: Probability of blur.
        sigma: Range of the blur's standard deviation in pixels, uniform.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        jitter: Sequence[float] = (0.5, 0.5, 0.5, 0.25),
        p_jitter: float = 0.8,
        p_gray: float = 0.2,
        p_blur: float = 0.5,
        sigma: tuple[float, float] = (0.1, 2.0),
    ) -> None:
        if len(jitter) != 4 or min(jitter) < 0 or jitter[3] > 0.5:
            raise ValueError(
                f"StrongPhotometric: jitter={jitter} must be four strengths >= 0 (brightness, "
                "contrast, saturation, hue), hue at most 0.5"
            )
        for name, probability in dict(p_jitter=p_jitter, p_gray=p_gray, p_blur=p_blur).items():
            if not 0 <= probability <= 1:
                raise ValueError(f"StrongPhotometric: {name}={probability} is not in [0, 1]")
        if len(sigma) != 2 or not 0 < sigma[0] <= sigma[1]:
            raise ValueError(
                f"StrongPhotometric: sigma={sigma} must be (low, high), 0 < low <= high"
            )
        self.probabilities = (p_jitter, p_gray, p_blur)
        low_high = [(max(0.0, 1 - s), 1 + s) for s in jitter[:3]]
        low_high += [(-jitter[3], jitter[3]), tuple(sigma)]
        self.ranges = torch.tensor(low_high, dtype=torch.float32)
        self.blur_radius = math.ceil(3 * sigma[1])

    @torch.no_grad()
    def __call__(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the strong view of a batch.

        Args:
            x: (N, 3, H, W) float RGB in [0, 1], on any device.
            generator: CPU generator.

        Returns:
            Same shape, dtype and range.
        """
        if not x.is_floating_point() or x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(
                "StrongPhotometric takes float (N, 3, H, W) in [0, 1], got "
                f"{x.dtype} {tuple(x.shape)}"
            )
        order = torch.randperm(4, generator=generator).tolist()
        uniforms = torch.rand(8, len(x), generator=generator)
        low, high = self.ranges[:, :1], self.ranges[:, 1:]
        parameters = low + (high - low) * uniforms[:5]
        drawn = uniforms[5:] < torch.tensor(self.probabilities)[:, None]
        on_device = torch.cat([parameters, drawn]).to(x.device, non_blocking=True)
        *jitter_parameters, sigma = on_device[:5]
        apply_jitter, apply_gray, apply_blur = on_device[5:].bool()

        operations: list[Callable[[Tensor, Tensor, Tensor], Tensor]] = [
            adjust_brightness,
            adjust_contrast,
            adjust_saturation,
            adjust_hue,
        ]
        for i in order:
            x = operations[i](x, jitter_parameters[i], apply_jitter)
        x = to_grayscale(x, apply_gray)
        radius = min(self.blur_radius, min(x.shape[2:]) - 1)
        return gaussian_blur(x, sigma, 2 * radius + 1, apply_blur)
