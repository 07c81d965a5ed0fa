# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Random intensity: a few colour operations on each image, of random kind, number and strength.

Zhao, Yang, Long, Pi, Zhou, Wang, *Augmentation Matters: A Simple-Yet-Effective Approach to
Semi-Supervised Semantic Segmentation* (AugSeg), CVPR 2023, https://arxiv.org/abs/2212.04976.

Decisions:

* Unlike :mod:`.photometric` everything is 8 bit, and each operation equals Pillow's bit for bit: the
  published operations are Pillow's, and histograms and bits have no other form. Where torchvision
  has the same values its function is called.
* Each operation takes one image (3, H, W) uint8, RGB, and a number. The host has drawn what an image
  gets, so one that was not drawn costs nothing, on any device, and nothing is read back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as TF
from mmseg.registry import MODELS
from torch import Generator, Tensor

from ...errors import ConfigError
from ...utils import close_matches


def _blend(x: Tensor, other: Tensor, factor: float) -> Tensor:
    """``factor`` of the image and the rest of another one; fractions are cut off."""
    return (other + (x - other) * factor).to(torch.uint8)


def _grey(x: Tensor) -> Tensor:
    """The luma (1, H, W), as whole numbers in float32."""
    red, green, blue = x.float().unbind(0)
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) / 65536).floor()[None]


def adjust_brightness(x: Tensor, factor: float) -> Tensor:
    """Blend with black."""
    return TF.adjust_brightness(x, factor)


def adjust_contrast(x: Tensor, factor: float) -> Tensor:
    """Blend with the mean grey, rounded half up."""
    return _blend(x.float(), (_grey(x).double().mean() + 0.5).floor().float(), factor)


def adjust_color(x: Tensor, factor: float) -> Tensor:
    """Blend with the grey image."""
    return _blend(x.float(), _grey(x), factor)


def adjust_sharpness(x: Tensor, factor: float) -> Tensor:
    """Blend with the image smoothed by (1 1 1, 1 5 1, 1 1 1) / 13, whose border is the image's."""
    smooth = x.float()
    if min(x.shape[1:]) > 2:  # no convolution: on a GPU it may round its inputs
        inner = 9 * F.avg_pool2d(smooth, 3, stride=1) + 4 * smooth[:, 1:-1, 1:-1]
        smooth = smooth.clone()
        smooth[:, 1:-1, 1:-1] = (inner / 13 + 0.5).floor()
    return _blend(x.float(), smooth, factor)


def autocontrast(x: Tensor) -> Tensor:
    """Stretch the values of each channel to 0..255."""
    flat = x.flatten(1)
    low, high = (end.double() for end in flat.aminmax(dim=1, keepdim=True))
    values = torch.arange(256, dtype=torch.float64, device=x.device).expand(len(x), -1)
    # A number divided by a tensor would be its reciprocal times the number: another last bit.
    scale = torch.full_like(high, 255) / (high - low)
    table = torch.where(high > low, (values * scale - low * scale).clamp(0, 255), values)
    return table.to(torch.uint8).gather(1, flat.long()).view_as(x)


def shift_hue(x: Tensor, turns: float) -> Tensor:
    """Turn the hue of 8-bit HSV by ``turns``, in (-1, 1), cut to a whole number of 255ths."""
    rgb = x.float()
    high, low = rgb.amax(0), rgb.amin(0)
    chroma = high - low
    # Float32 exactly where Pillow has it: the hue is cut to a whole number next.
    red, green, blue = ((high - rgb) / chroma.clamp(min=1)).double()
    hue = torch.where(
        rgb[0] == high,
        blue - green,
        torch.where(rgb[1] == high, 2 + red - blue, 4 + green - red),
    )
    hue = (hue.float().double() / 6 + 1).fmod(1).float()
    hue = torch.where(chroma > 0, (hue.double() * 255).trunc(), 0)
    saturation = ((chroma / high.clamp(min=1)).double() * 255).trunc() / 255
    sixths = ((hue + math.trunc(255 * turns)) % 256) * 6 / 255
    channels = []
    for start in (5, 3, 1):
        position = (sixths + start) % 6
        share = torch.minimum(position, 4 - position).clamp(0, 1)
        channels.append((high * (1 - saturation * share) + 0.5).floor())
    return torch.stack(channels).to(torch.uint8)


def _box_radius(sigma: float, passes: int) -> np.float32:
    """Radius, with a fraction, of the box whose ``passes``-fold blur has the deviation ``sigma``.

    Gwosdek et al., *Theoretical foundations of Gaussian convolution by extended box filtering*, 2011.
    """
    variance = np.float32(np.float32(sigma) ** 2 / np.float32(passes))
    whole = np.float32(math.floor((math.sqrt(12 * float(variance) + 1) - 1) / 2))
    fraction = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
    return np.float32(whole + fraction / (6 * (variance - (whole + 1) ** 2)))


def box_blur(x: Tensor, sigma: float, passes: int = 3) -> Tensor:
    """Pillow's Gaussian blur: repeated box filters along rows, then columns; 8 bit after each."""
    radius = _box_radius(sigma, passes)
    reach, one = int(radius), 1 << 24
    inner = int(one / (2 * radius + 1))  # fixed point: weight of a pixel inside the box
    outer = (one - (2 * reach + 1) * inner) // 2  # and of the two at its ends
    y = x.double()  # holds 40 bits
    for _ in range(2):
        for _ in range(passes):
            size = y.shape[-1]
            padded = F.pad(y, (reach + 1, reach + 1), mode="replicate")
            box = sum(padded[..., k : k + size] for k in range(1, 2 * reach + 2))
            ends = padded[..., :size] + padded[..., -size:]
            y = ((box * inner + ends * outer + one // 2) / one).floor()
        y = y.mT
    return y.to(torch.uint8)


class Operation(NamedTuple):
    """One of the operations.

    Attributes:
        apply: Of an image and a strength.
        strength: The strength from uniform numbers, u in [0, 1) and a sign of -1 or 1.
    """

    apply: Callable[[Tensor, float], Tensor]
    strength: Callable[[float, int], float]


def _factor(u: float, _: int) -> float:
    return 0.95 - 0.9 * u


def _nothing(u: float, _: int) -> float:
    return 0.0


#: By name; factors always reduce.
OPERATIONS: dict[str, Operation] = dict(
    identity=Operation(lambda x, _: x, _nothing),
    autocontrast=Operation(lambda x, _: autocontrast(x), _nothing),
    equalize=Operation(lambda x, _: TF.equalize(x), _nothing),
    blur=Operation(box_blur, lambda u, _: 0.1 + 1.9 * u),
    contrast=Operation(adjust_contrast, _factor),
    brightness=Operation(adjust_brightness, _factor),
    color=Operation(adjust_color, _factor),
    sharpness=Operation(adjust_sharpness, _factor),
    posterize=Operation(TF.posterize, lambda u, _: 8 - max(1, math.ceil(4 * u))),
    solarize=Operation(TF.solarize, lambda u, _: 256 - max(1, math.ceil(255 * u))),
    hue=Operation(shift_hue, lambda u, sign: sign * 0.5 * u),
)


@MODELS.register_module()
class RandomIntensity:
    """One to ``num_ops`` operations on each image, drawn with replacement: AugSeg's strong view.

    With the defaults an image stays unchanged with probability 0.033, and each operation changes it
    with probability 0.171. Strengths are those of the released code, see :data:`OPERATIONS`.

    Args:
        num_ops: Most operations on an image.
        random_num: Their number is uniform in 1..num_ops; False: always num_ops.
        operations: Names of the operations to draw from; None: all eleven.

    Raises:
        ConfigError: An argument is out of its range.
    """

    #: Histograms and means see padding in the data set's mean colour, as in the released code.
    pads_with_mean = True

    def __init__(
        self, num_ops: int = 3, random_num: bool = True, operations: Sequence[str] | None = None
    ) -> None:
        if num_ops < 1:
            raise ConfigError(f"RandomIntensity: num_ops={num_ops} must be at least 1")
        operations = list(OPERATIONS if operations is None else operations)
        for name in operations:
            if name not in OPERATIONS:
                raise ConfigError(
                    f"RandomIntensity: operations={operations} has '{name}'"
                    f"{close_matches(name, OPERATIONS)} (known: {', '.join(OPERATIONS)})"
                )
        if not operations:
            raise ConfigError("RandomIntensity: operations=[] leaves nothing to draw from")
        self.num_ops, self.random_num, self.operations = num_ops, random_num, operations

    def draw(
        self, num_images: int, generator: Generator | None = None
    ) -> list[list[tuple[str, float]]]:
        """Draw the operations of each image, by name, with their strengths.

        Args:
            num_images: Images in the batch.
            generator: CPU generator; it gives the seed of another one, so that what is drawn from it
                does not depend on the settings.
        """
        (seed,) = torch.randint(2**63 - 1, (1,), generator=generator).tolist()
        uniforms = torch.rand(
            num_images,
            1 + 3 * self.num_ops,
            dtype=torch.float64,
            generator=Generator().manual_seed(seed),
        )
        plans = []
        for first, *rest in uniforms.tolist():
            number = 1 + int(self.num_ops * first) if self.random_num else self.num_ops
            plan = []
            for kind, u, sign in list(zip(rest[::3], rest[1::3], rest[2::3]))[:number]:
                name = self.operations[int(len(self.operations) * kind)]
                plan.append((name, OPERATIONS[name].strength(u, 1 if sign < 0.5 else -1)))
            plans.append(plan)
        return plans

    @torch.no_grad()
    def __call__(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the strong view of a batch.

        Args:
            x: (N, 3, H, W) float RGB in [0, 1], on any device.
            generator: CPU generator.

        Returns:
            Same shape and dtype, whole multiples of 1/255.

        Raises:
            ConfigError: The images are not RGB.
        """
        if x.ndim == 4 and x.shape[1] != 3:
            raise ConfigError(
                f"RandomIntensity is defined for RGB, the images have {x.shape[1]} channels: use "
                "strong=dict(type='StrongPhotometric', jitter=(0.5, 0.5, 0, 0), p_gray=0)"
            )
        if not x.is_floating_point() or x.ndim != 4:
            raise ValueError(
                f"RandomIntensity takes float (N, 3, H, W) in [0, 1], got {x.dtype} {tuple(x.shape)}"
            )
        views = []
        for image, plan in zip((x * 255).round().to(torch.uint8), self.draw(len(x), generator)):
            for name, strength in plan:
                image = OPERATIONS[name].apply(image, strength)
            views.append(image)
        return torch.stack(views).to(x.dtype) / 255
