# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Fully convolutional discriminator of AdvSemiSeg (Hung et al., BMVC 2018, arXiv 1802.07934)."""

from __future__ import annotations

from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...errors import ConfigError


def check_map(x_NCHW: Tensor, in_channels: int, num_convs: int, name: str) -> None:
    """Refuse maps of other channels, or too small to be halved ``num_convs`` times.

    Raises:
        ConfigError: In one line, instead of a message from inside a convolution.
    """
    smallest = 2**num_convs
    if x_NCHW.ndim != 4 or x_NCHW.shape[1] != in_channels or min(x_NCHW.shape[2:]) < smallest:
        raise ConfigError(
            f"{name} with in_channels={in_channels} takes (N, {in_channels}, H, W) with H and W of "
            f"{smallest} or more, got {tuple(x_NCHW.shape)}"
        )


def strided_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """4x4 convolution with stride 2 and padding 1: it halves the size, rounding down."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1)


@MODELS.register_module()
class FCDiscriminator(BaseModule):
    """Class map -> logits of "this is ground truth" on a grid 32 times as coarse.

    Four 4x4 convolutions of stride 2 with LeakyReLU, and a fifth to one channel. With biases, without
    norm and dropout; torch's default initialisation. The image is not looked at. There is no sigmoid
    and no upsampling inside.

    Args:
        in_channels: Number of classes.
        base_channels: Channels of the first convolution, doubled three times.
        negative_slope: Of the LeakyReLU.
        init_cfg: None keeps torch's default initialisation.
    """

    def __init__(
        self,
        in_channels: int,
        base_channels: int = 64,
        negative_slope: float = 0.2,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        layers: list[nn.Module] = []
        widths = (in_channels, *(base_channels * 2**i for i in range(4)))
        for before, after in zip(widths, widths[1:]):
            layers += [strided_conv(before, after), nn.LeakyReLU(negative_slope, inplace=True)]
        self.features = nn.Sequential(*layers)
        self.classifier = strided_conv(widths[-1], 1)

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        """Return logits (N, 1, H // 32, W // 32) of class probabilities or one-hot maps.

        Raises:
            ConfigError: The maps have other channels, or a side below 32.
        """
        check_map(maps_NCHW, self.in_channels, 5, type(self).__name__)
        return self.classifier(self.features(maps_NCHW))
