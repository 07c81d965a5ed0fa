# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Image-level discriminator of s4GAN (Mittal et al., TPAMI 2021, arXiv 1908.05724)."""

from __future__ import annotations

from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..losses import full_precision
from .fc_discriminator import check_map, strided_conv


@MODELS.register_module()
class S4GANDiscriminator(BaseModule):
    """Class map and image, concatenated -> one logit an image, and the feature that is matched.

    Four 4x4 convolutions of stride 2 with LeakyReLU, channel dropout after the first three, the mean
    over all positions, a linear layer. With biases, without norm; torch's default initialisation.

    Two things differ from the released code, neither in its results: the mean is global, where the
    code fixes the pooling size for two crops, and the score is a logit, where the code ends in a
    sigmoid (a threshold of 0.6 on the score is one of log(0.6 / 0.4) here).

    In training mode the dropout is active, also while images are scored and features are matched, as
    published; a method that wants a score without noise calls it in eval mode.

    Args:
        in_channels: Classes plus the image's channels, e.g. 21 + 3.
        base_channels: Channels of the first convolution, doubled three times.
        dropout: Probability to drop a channel after each of the first three convolutions.
        negative_slope: Of the LeakyReLU.
        init_cfg: None keeps torch's default initialisation.
    """

    def __init__(
        self,
        in_channels: int,
        base_channels: int = 64,
        dropout: float = 0.5,
        negative_slope: float = 0.2,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.feature_channels = base_channels * 8
        layers: list[nn.Module] = []
        widths = (in_channels, *(base_channels * 2**i for i in range(4)))
        for number, (before, after) in enumerate(zip(widths, widths[1:])):
            layers += [strided_conv(before, after), nn.LeakyReLU(negative_slope, inplace=True)]
            if number < 3:
                layers.append(nn.Dropout2d(dropout))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-1], 1)

    def forward(self, maps_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logit of "this is ground truth" (N, 1) and the pooled feature (N, 512).

        The mean is taken in float32 at least, under autocast too.

        Args:
            maps_NCHW: Class probabilities or one-hot maps, then the image's channels in [0, 1].

        Raises:
            ValueError: The maps have other channels, or a side below 16.
        """
        check_map(maps_NCHW, self.in_channels, 4, type(self).__name__)
        x = self.features(maps_NCHW)
        feature_NK = full_precision(x).mean(dim=(2, 3))
        return self.classifier(feature_NK.to(self.classifier.weight.dtype)), feature_NK
