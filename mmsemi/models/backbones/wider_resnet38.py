# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Wide ResNet-38 "A2": few, wide pre-activation blocks, for segmentation at output stride 8.

Wu et al., *Wider or Deeper: Revisiting the ResNet Model for Visual Recognition*, Pattern Recognition
2019, arXiv 1611.10080. s4GAN's code trains it on Cityscapes with the DeepLabv3+ head of
:mod:`mmsemi.models.heads.deeplabv3plus_wrn_head`.

Modules are numbered as in the paper: ``mod1`` is the stem, ``mod2`` to ``mod7`` are the blocks. The
last norm of the classification net comes after the tap that segmentation reads; it is left out, as
nothing would train it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn


class _Module(NamedTuple):
    """One module: channels of a block's convolutions in units of ``base_channels``, and so on."""

    name: str
    channels: tuple[int, ...]
    num_blocks: int
    stride: int
    dilation: int


_MODULES = (
    _Module("mod2", (2, 2), 3, 1, 1),
    _Module("mod3", (4, 4), 3, 1, 1),
    _Module("mod4", (8, 8), 6, 2, 1),
    _Module("mod5", (8, 16), 3, 1, 2),
    _Module("mod6", (8, 16, 32), 1, 1, 4),
    _Module("mod7", (16, 32, 64), 1, 1, 4),
)


class PreActivationBlock(BaseModule):
    """Residual block that normalises and activates before each convolution.

    Two channels make two 3x3 convolutions, three a 1x1, a 3x3 and a 1x1. Where the shape changes, the
    shortcut is a 1x1 projection of the *activated* input, else the raw input.

    Args:
        in_channels: Channels of the input.
        channels: Output channels of the two or three convolutions.
        stride: Of the first convolution and of the projection.
        dilation: Of the 3x3 convolutions.
        dropout: Probability to drop a channel before the last convolution.
        norm_cfg: Config of the norms.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        stride: int,
        dilation: int,
        dropout: float,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        kernels = (3, 3) if len(channels) == 2 else (1, 3, 1)
        inputs = (in_channels, *channels[:-1])
        self.norms = nn.ModuleList(build_norm_layer(norm_cfg, width)[1] for width in inputs)
        self.convs = nn.ModuleList(
            nn.Conv2d(
                before,
                after,
                kernel,
                stride=stride if number == 0 else 1,
                padding=dilation * (kernel // 2),
                dilation=dilation if kernel > 1 else 1,
                bias=False,
            )
            for number, (before, after, kernel) in enumerate(zip(inputs, channels, kernels))
        )
        self.relu = nn.ReLU(inplace=True)
        # Of whole channels, by its own class: a single element is guessed from its neighbours.
        self.dropout = nn.Dropout2d(dropout)
        self.projection = None
        if stride != 1 or in_channels != channels[-1]:
            self.projection = nn.Conv2d(in_channels, channels[-1], 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels[-1], H / stride, W / stride)."""
        out = self.relu(self.norms[0](x))
        shortcut = x if self.projection is None else self.projection(out)
        out = self.convs[0](out)
        for norm, conv in zip(self.norms[1:], self.convs[1:]):
            out = self.relu(norm(out))
            if conv is self.convs[-1]:
                out = self.dropout(out)
            out = conv(out)
        return out + shortcut


@MODELS.register_module()
class WiderResNet38(BaseModule):
    """Wide ResNet-38 trunk with two taps: stride 2 (128 channels) and stride 8 (4096 channels).

    Args:
        in_channels: Channels of the image.
        base_channels: Channels of the stem; all others are multiples of it (64 as published).
        dropout: Channel dropout in mod6 and in mod7.
        norm_cfg: Config of the norms.
        init_cfg: Where the weights come from; torch's defaults without it.
    """

    def __init__(
        self,
        in_channels: int = 3,
        base_channels: int = 64,
        dropout: tuple[float, float] = (0.3, 0.5),
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type="BN")
        drop = dict(mod6=dropout[0], mod7=dropout[1])
        self.mod1 = nn.Conv2d(in_channels, base_channels, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        width = base_channels
        for module in _MODULES:
            channels = [base_channels * factor for factor in module.channels]
            blocks = []
            for number in range(module.num_blocks):
                stride = module.stride if number == 0 else 1
                blocks.append(
                    PreActivationBlock(
                        width, channels, stride, module.dilation, drop.get(module.name, 0), norm_cfg
                    )
                )
                width = channels[-1]
            self.add_module(module.name, nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the taps of images (N, 3, H, W).

        Returns:
            (N, 128, H/2, W/2) after mod2 and (N, 4096, H/8, W/8) after mod7, neither normalised nor
            activated. Halves are rounded up.
        """
        low = self.mod2(self.pool(self.mod1(x)))
        x = self.mod4(self.mod3(self.pool(low)))
        return low, self.mod7(self.mod6(self.mod5(x)))
