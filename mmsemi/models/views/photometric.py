# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Photometric operations on a batch of images, with parameters per image.

Each function takes images (N, C, H, W) in [0, 1] (RGB; brightness, contrast and blur any channels), one parameter per image (N,) and optionally
a bool (N,) that says which images it is applied to; all on one device. At equal parameters it
equals torchvision's functional.

:class:`StrongPhotometric` has two ways to the same result. A GPU runs every operation on the whole
batch and keeps what was drawn, so that nothing is read back to the host. A CPU is faster with one
image at a time, which stays in its cache, and only the operations that were drawn for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Generator, Tensor

from ...errors import ConfigError

# Pixels that a CPU works on at a time, so that the planes of one operation stay in its cache.
_CPU_BLOCK = 32768
# Outputs of one small matrix product of the CPU's blur.
_BLUR_BLOCK = 16


def _luma(x: Tensor) -> Tensor:
    """ITU-R 601 luma of (N, 3, ...), (N, 1, ...), with torchvision's rounding of the weights.

    The luma of other than three channels is their mean.
    """
    if x.shape[1] != 3:
        return x.mean(dim=1, keepdim=True)
    red, green, blue = x.unbind(dim=1)
    return (0.2989 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze(1)


# The operations themselves write to ``out``, which may be ``x``. Their parameter is a number or
# (N, 1, 1, 1).


def _brightness(x: Tensor, factor: Tensor | float, out: Tensor) -> None:
    torch.mul(x, factor, out=out).clamp_(0, 1)


def _contrast(x: Tensor, factor: Tensor | float, out: Tensor) -> None:
    # The luma of the mean colour is the mean of the luma.
    mean_grey = _luma(x.mean(dim=(2, 3), keepdim=True))
    torch.lerp(mean_grey, x, factor, out=out).clamp_(0, 1)


def _saturation(x: Tensor, factor: Tensor | float, out: Tensor) -> None:
    torch.lerp(_luma(x), x, factor, out=out).clamp_(0, 1)


def _hue(x: Tensor, shift: Tensor | float, out: Tensor) -> None:
    sixths = 6 * (shift % 1)
    sixths = sixths.flatten(1) if isinstance(sixths, Tensor) else sixths
    block = _CPU_BLOCK if x.device.type == "cpu" else x.shape[2] * x.shape[3]
    for x_N3P, out_N3P in zip(x.flatten(2).split(block, 2), out.flatten(2).split(block, 2)):
        _turn_hue(x_N3P, sixths, out_N3P)


def _turn_hue(x_N3P: Tensor, sixths: Tensor | float, out_N3P: Tensor) -> None:
    """Turn the hue of P pixels by ``sixths`` of a turn, in [0, 6].

    Everything is in units of the chroma, which spares the division by it and the special case of
    grey pixels. Choices are made by masks of 0 and 1 in floating point and results go to existing
    tensors: a CPU is several times slower at bool masks and at fresh memory.
    """
    red, green, blue = x_N3P.unbind(dim=1)
    low = torch.minimum(red, green)
    torch.minimum(low, blue, out=low)
    high = torch.maximum(red, green)
    torch.maximum(high, blue, out=high)
    chroma = high - low
    # The hue in sixths of a turn from pure red, times the chroma: in [0, 6 chroma]. Which formula
    # holds is told by the lowest channel: blue on the first third of the circle, then red.
    hue = (red - blue).add_(chroma, alpha=5)
    other, mask = torch.empty_like(hue), torch.empty_like(hue)
    torch.sub(blue, green, out=other).add_(chroma, alpha=3)
    torch.eq(red, low, out=mask)
    torch.lerp(hue, other, mask, out=hue)
    torch.sub(green, red, out=other).add_(chroma)
    torch.eq(blue, low, out=mask)
    torch.lerp(hue, other, mask, out=hue)

    hue.add_(torch.mul(chroma, sixths, out=other))
    torch.mul(chroma, 6, out=other)
    torch.ge(hue, other, out=mask)
    hue.addcmul_(mask, other, value=-1)
    # Red is high on a third of the circle around 0, green around 2, blue around 4.
    red, green, blue = out_N3P.unbind(dim=1)
    torch.sub(hue, chroma, alpha=3, out=red).abs_().add_(torch.sub(low, chroma, out=other))
    torch.add(low, chroma, alpha=2, out=other)
    torch.sub(other, torch.sub(hue, chroma, alpha=2, out=green).abs_(), out=green)
    torch.sub(other, torch.sub(hue, chroma, alpha=4, out=blue).abs_(), out=blue)
    for channel in (red, green, blue):
        torch.clamp(channel, low, high, out=channel)


def _grayscale(x: Tensor, out: Tensor) -> None:
    out.copy_(_luma(x))


def _gaussian_kernel(sigma: Tensor | float, kernel_size: int, x: Tensor) -> Tensor:
    """Weights of a Gaussian, (kernel_size,), or (N, kernel_size) for N sigmas in (N, 1)."""
    radius = kernel_size // 2
    taps = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (taps / sigma).square())
    return kernel / kernel.sum(dim=-1, keepdim=True)


def _blur_by_convolution(x: Tensor, kernel_NK: Tensor) -> Tensor:
    """Blur all images in two convolutions, one group per image and channel."""
    num_images, channels, height, width = x.shape
    groups = num_images * channels
    radius = kernel_NK.shape[1] // 2
    kernel = kernel_NK.repeat_interleave(channels, dim=0)[:, None]  # (N*3, 1, kernel_size)
    blurred = x.reshape(1, groups, height, width)
    blurred = F.pad(blurred, (radius, radius, radius, radius), mode="reflect")
    # Mixed-precision training draws views under autocast, which would round colours.
    with torch.autocast("cuda" if x.is_cuda else "cpu", enabled=False):
        blurred = F.conv2d(blurred, kernel[:, :, :, None], groups=groups)
        return F.conv2d(blurred, kernel[:, :, None, :], groups=groups).view_as(x)


def _blur_by_products(x: Tensor, kernel_K: Tensor, out: Tensor) -> None:
    """Blur (1, 3, H, W) by matrix products, several times faster than a convolution on a CPU.

    Each line is cut into blocks of 16 outputs. A block is the product of the 16 + K - 1 inputs
    around it with a matrix that has the kernel in every row, shifted by one from row to row.
    """
    height, width = x.shape[2:]
    size, radius, block = len(kernel_K), len(kernel_K) // 2, _BLUR_BLOCK
    window = block + size - 1
    more_h, more_w = -height % block, -width % block  # to whole blocks
    if radius + max(more_h, more_w) >= min(height, width):  # too small to be worth a thought
        out.copy_(_blur_by_convolution(x, kernel_K[None]))
        return
    # Written in rows of one more and read in rows of ``window``, the kernel moves right row by row.
    band = kernel_K.new_zeros(block, window + 1)
    band[:, :size] = kernel_K
    band = band.flatten()[: block * window].view(block, window)
    padding = (radius, radius + more_w, radius, radius + more_h)
    padded = F.pad(x, padding, mode="reflect")[0]
    with torch.autocast("cpu", enabled=False):  # see _blur_by_convolution
        for plane, result in zip(padded, out[0]):
            columns = plane.unfold(0, window, block).transpose(1, 2)  # (blocks, window, width)
            plane = torch.bmm(band.expand(len(columns), -1, -1), columns).flatten(0, 1)
            rows = plane.unfold(1, window, block).transpose(0, 1)  # (blocks, height, window)
            plane = torch.bmm(rows, band.T.expand(len(rows), -1, -1))  # (blocks, height, 16)
            result.copy_(plane.transpose(0, 1).flatten(1)[:height, :width])


def _of_batch(
    operation: Callable[[Tensor, Tensor, Tensor], None],
    x: Tensor,
    parameter_N: Tensor,
    apply_N: Tensor | None,
) -> Tensor:
    """Run an operation on every image and keep its result where it was drawn."""
    changed = torch.empty_like(x, memory_format=torch.contiguous_format)
    operation(x, parameter_N.to(x.dtype).view(-1, 1, 1, 1), changed)
    return _keep_others(x, changed, apply_N)


def _keep_others(x: Tensor, changed: Tensor, apply_N: Tensor | None) -> Tensor:
    """Take ``changed`` where the operation was drawn for the image, else ``x``."""
    return changed if apply_N is None else torch.where(apply_N.view(-1, 1, 1, 1), changed, x)


@torch.no_grad()
def adjust_brightness(x: Tensor, factor_N: Tensor, apply_N: Tensor | None = None) -> Tensor:
    """Scale towards black: 0 gives black, 1 the image; clipped to [0, 1]."""
    return _of_batch(_brightness, x, factor_N, apply_N)


@torch.no_grad()
def adjust_contrast(x: Tensor, factor_N: Tensor, apply_N: Tensor | None = None) -> Tensor:
    """Blend with the image's mean grey: 0 gives flat grey, 1 the image; clipped to [0, 1]."""
    return _of_batch(_contrast, x, factor_N, apply_N)


@torch.no_grad()
def adjust_saturation(x: Tensor, factor_N: Tensor, apply_N: Tensor | None = None) -> Tensor:
    """Blend with the grey image: 0 gives grey, 1 the image; clipped to [0, 1]."""
    return _of_batch(_saturation, x, factor_N, apply_N)


@torch.no_grad()
def adjust_hue(x: Tensor, shift_N: Tensor, apply_N: Tensor | None = None) -> Tensor:
    """Turn the hue circle by ``shift_N`` full turns, in [-0.5, 0.5]."""
    return _of_batch(_hue, x, shift_N, apply_N)


@torch.no_grad()
def to_grayscale(x: Tensor, apply_N: Tensor | None = None) -> Tensor:
    """Replace the colours by the luma in all three channels."""
    return _keep_others(x, _luma(x).expand_as(x), apply_N)


@torch.no_grad()
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
    height, width = x.shape[2:]
    if kernel_size % 2 == 0 or kernel_size // 2 >= min(height, width):
        raise ValueError(
            f"gaussian_blur: kernel_size={kernel_size} must be odd and at most "
            f"{2 * min(height, width) - 1} for images of {height}x{width}"
        )
    kernel = _gaussian_kernel(sigma_N.to(x.dtype)[:, None], kernel_size, x)
    return _keep_others(x, _blur_by_convolution(x, kernel), apply_N)


_JITTER = (_brightness, _contrast, _saturation, _hue)


@MODELS.register_module()
class StrongPhotometric:
    """Colour jitter, grayscale and blur, each with a probability and parameters per image.

    The strong view of the consistency methods (FixMatch for segmentation, UniMatch). Jitter applies
    brightness, contrast, saturation and hue in a random order, drawn per batch (torchvision: per
    image); everything else is drawn per image.

    The blur kernel reaches 3 times the largest sigma (13 pixels wide for sigma <= 2) unless
    ``blur_size`` is given, or the image border if that is nearer.

    Args:
        jitter: Strengths (brightness, contrast, saturation, hue): factors uniform in
            [max(0, 1 - s), 1 + s], hue shift uniform in [-s, s] turns, s <= 0.5.
        p_jitter: Probability of jitter, for all four together.
        p_gray: Probability of grayscale.
        p_blur: Probability of blur.
        sigma: Range of the blur's standard deviation in pixels, uniform.
        blur_size: Odd width of the blur kernel in pixels; None: see above.
        blur_first: Blur before the other operations, not after them.
        pads_with_mean: Padding is seen in the mean colour, not in black.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        jitter: Sequence[float] = (0.5, 0.5, 0.5, 0.25),
        p_jitter: float = 0.8,
        p_gray: float = 0.2,
        p_blur: float = 0.5,
        sigma: tuple[float, float] = (0.1, 2.0),
        blur_size: int | None = None,
        blur_first: bool = False,
        pads_with_mean: bool = False,
    ) -> None:
        if len(jitter) != 4 or min(jitter) < 0 or jitter[3] > 0.5:
            raise ConfigError(
                f"StrongPhotometric: jitter={jitter} must be four strengths >= 0 (brightness, "
                "contrast, saturation, hue), hue at most 0.5"
            )
        for name, probability in dict(p_jitter=p_jitter, p_gray=p_gray, p_blur=p_blur).items():
            if not 0 <= probability <= 1:
                raise ConfigError(f"StrongPhotometric: {name}={probability} is not in [0, 1]")
        if len(sigma) != 2 or not 0 < sigma[0] <= sigma[1]:
            raise ConfigError(
                f"StrongPhotometric: sigma={sigma} must be (low, high), 0 < low <= high"
            )
        self.probabilities = (p_jitter, p_gray, p_blur)
        low_high = [(max(0.0, 1 - s), 1 + s) for s in jitter[:3]]
        low_high += [(-jitter[3], jitter[3]), tuple(sigma)]
        self.ranges = torch.tensor(low_high, dtype=torch.float32)
        if blur_size is not None and (blur_size < 1 or blur_size % 2 == 0):
            raise ConfigError(f"StrongPhotometric: blur_size={blur_size} must be odd, or None")
        self.blur_radius = math.ceil(3 * sigma[1]) if blur_size is None else blur_size // 2
        self.blur_first, self.pads_with_mean = blur_first, pads_with_mean

    @torch.no_grad()
    def __call__(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the strong view of a batch.

        Args:
            x: (N, C, H, W) float in [0, 1], on any device; RGB if C is 3.
            generator: CPU generator.

        Returns:
            Same shape, dtype and range.

        Raises:
            ConfigError: The images are not RGB, and an operation is drawn that is defined by colours.
        """
        if not x.is_floating_point() or x.ndim != 4:
            raise ValueError(
                "StrongPhotometric takes float (N, C, H, W) in [0, 1], got "
                f"{x.dtype} {tuple(x.shape)}"
            )
        order = torch.randperm(4, generator=generator).tolist()
        if x.shape[1] != 3:
            self._refuse_colour(x.shape[1])
            order = [i for i in order if i < 2]  # brightness, contrast
        uniforms = torch.rand(8, len(x), generator=generator)
        low, high = self.ranges[:, :1], self.ranges[:, 1:]
        parameters = low + (high - low) * uniforms[:5]
        drawn = uniforms[5:] < torch.tensor(self.probabilities)[:, None]
        radius = min(self.blur_radius, min(x.shape[2:]) - 1)
        if x.device.type == "cpu":
            return self._one_by_one(x, parameters, drawn, order, 2 * radius + 1)
        on_device = torch.cat([parameters, drawn]).to(x.device, non_blocking=True)
        return self._whole_batch(x, on_device[:5], on_device[5:].bool(), order, 2 * radius + 1)

    def _refuse_colour(self, channels: int) -> None:
        p_jitter, p_gray, _ = self.probabilities
        saturation, hue = (self.ranges[i].tolist() for i in (2, 3))
        used = dict(
            saturation=p_jitter > 0 and saturation != [1, 1],
            hue=p_jitter > 0 and hue != [0, 0],
            grayscale=p_gray > 0,
        )
        named = ", ".join(name for name, is_used in used.items() if is_used)
        if named:
            raise ConfigError(
                f"StrongPhotometric: {named} is defined for RGB, the images have {channels} channels: "
                "set jitter=(brightness, contrast, 0, 0) and p_gray=0 (brightness, contrast and blur "
                "take any channels)"
            )

    def _whole_batch(
        self, x: Tensor, parameters_5N: Tensor, drawn_3N: Tensor, order: list[int], kernel_size: int
    ) -> Tensor:
        apply_jitter, apply_gray, apply_blur = drawn_3N
        if self.blur_first:
            x = gaussian_blur(x, parameters_5N[4], kernel_size, apply_blur)
        for i in order:
            x = _of_batch(_JITTER[i], x, parameters_5N[i], apply_jitter)
        if x.shape[1] == 3:
            x = to_grayscale(x, apply_gray)
        if self.blur_first:
            return x
        return gaussian_blur(x, parameters_5N[4], kernel_size, apply_blur)

    def _one_by_one(
        self, x: Tensor, parameters_5N: Tensor, drawn_3N: Tensor, order: list[int], kernel_size: int
    ) -> Tensor:
        views = torch.empty_like(x, memory_format=torch.contiguous_format)
        images = zip(x.split(1), views.split(1), parameters_5N.T.tolist(), drawn_3N.T.tolist())
        for image, view, parameters, (apply_jitter, apply_gray, apply_blur) in images:
            # The first operation reads the image and writes the view, all others work in place.
            if apply_blur and self.blur_first:
                _blur_by_products(image, _gaussian_kernel(parameters[4], kernel_size, x), view)
                image = view
            for i in order if apply_jitter else ():
                _JITTER[i](image, parameters[i], view)
                image = view
            if apply_gray:
                _grayscale(image, view)
                image = view
            if apply_blur and not self.blur_first:
                _blur_by_products(image, _gaussian_kernel(parameters[4], kernel_size, x), view)
            elif image is not view:
                view.copy_(image)
        return views
