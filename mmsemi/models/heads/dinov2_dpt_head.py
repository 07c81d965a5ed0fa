# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The DPT head that UniMatch V2 puts on DINOv2.

Ranftl et al., *Vision Transformers for Dense Prediction*, ICCV 2021, https://arxiv.org/abs/2103.13413; in the
form of UniMatch V2, https://arxiv.org/abs/2410.10777. mmseg's ``DPTHead`` is another network: it doubles
sizes, so that a grid of 37 does not meet itself again, and its residual convolutions have no biases.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model.weight_init import update_init_info
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...errors import ConfigError


class ResidualConvUnit(nn.Module):
    """x + conv(relu(conv(relu(x)))), 3x3 with biases."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """The refined map."""
        return x_NCHW + self.conv2(F.relu(self.conv1(F.relu(x_NCHW))))


class Fusion(nn.Module):
    """Adds the refined skip to what comes from below, refines it, enlarges it, and projects it."""

    def __init__(self, channels: int, has_skip: bool) -> None:
        super().__init__()
        # The deepest fusion has no skip. The released code builds this unit all the same and never calls it.
        self.skip = ResidualConvUnit(channels) if has_skip else None
        self.refine = ResidualConvUnit(channels)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, skip: Tensor | None, size_hw: Sequence[int]) -> Tensor:
        """(N, F, h, w) to (N, F, *size_hw)."""
        x = x if skip is None else x + self.skip(skip)
        x = self.refine(x)
        return self.project(F.interpolate(x, tuple(size_hw), mode="bilinear", align_corners=True))


@MODELS.register_module()
class DINOv2DPTHead(BaseDecodeHead):
    """Four maps of one grid, of a transformer's blocks from first to last, to logits at half the pixels.

    A grid of 37 x 37 (518 pixels) makes a pyramid of 148, 74, 37, 19 cells, which is fused from the
    smallest to the largest; the logits are 296 x 296. Any patch size goes, since nothing here counts pixels.
    Weights start as torch's defaults do, as released. Give an ``init_cfg`` to replace this.

    Args:
        in_channels: Channels of each of the four maps; one number if they are equal.
        channels: Width F of the head: 64 for S, 128 for B, 256 for L.
        reassemble_channels: Channels of the four levels; published (48, 96, 192, 384) for S,
            (96, 192, 384, 768) for B, (256, 512, 1024, 1024) for L.
        in_index: Which backbone outputs these are.
        align_corners: Of the upsampling to the input size.
        init_cfg: None for the initialisation above.
        kwargs: Of mmseg's ``BaseDecodeHead`` (num_classes, loss_decode, ...).

    Raises:
        ConfigError: Not four maps.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int] = 384,
        channels: int = 64,
        *,
        reassemble_channels: Sequence[int] = (48, 96, 192, 384),
        in_index: Sequence[int] = (0, 1, 2, 3),
        dropout_ratio: float = 0.0,
        align_corners: bool = True,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        widths = [in_channels] * 4 if isinstance(in_channels, int) else list(in_channels)
        if not len(widths) == len(in_index) == len(reassemble_channels) == 4:
            raise ConfigError(
                f"DINOv2DPTHead takes four maps: in_channels={in_channels}, in_index={tuple(in_index)} and "
                f"reassemble_channels={tuple(reassemble_channels)} must be four each"
            )
        super().__init__(
            widths,
            channels,
            in_index=list(in_index),
            input_transform="multiple_select",
            dropout_ratio=dropout_ratio,
            align_corners=align_corners,
            init_cfg=init_cfg,
            **kwargs,
        )
        levels = list(reassemble_channels)
        self.reassemble = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(widths, levels))
        self.resize = nn.ModuleList(
            [
                nn.ConvTranspose2d(levels[0], levels[0], 4, stride=4),
                nn.ConvTranspose2d(levels[1], levels[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(levels[3], levels[3], 3, stride=2, padding=1),
            ]
        )
        self.narrow = nn.ModuleList(
            nn.Conv2d(width, channels, 3, padding=1, bias=False) for width in levels
        )
        self.fusions = nn.ModuleList(Fusion(channels, has_skip=i < 3) for i in range(4))
        self.out_conv = nn.Conv2d(channels, channels, 3, padding=1)

    def init_weights(self) -> None:
        """Draw all weights anew by torch's defaults, unless an ``init_cfg`` was given."""
        super().init_weights()
        if self.init_cfg is not None:
            return
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                module.reset_parameters()
        if hasattr(self, "_params_init_info"):  # set while a parent module initialises
            update_init_info(self, "DINOv2DPTHead: torch's defaults")

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The map before dropout and classifier, (N, F, 8 h, 8 w) for a grid of h x w."""
        maps = self._transform_inputs(inputs)
        pyramid = [
            narrow(resize(project(x)))
            for x, project, resize, narrow in zip(maps, self.reassemble, self.resize, self.narrow)
        ]
        x, largest = pyramid[3], pyramid[0].shape[-2:]
        sizes = [[2 * side for side in largest], *(level.shape[-2:] for level in pyramid[:3])]
        for level in (3, 2, 1, 0):
            skip = None if level == 3 else pyramid[level]
            x = self.fusions[level](x, skip, sizes[level])
        return F.relu(self.out_conv(x))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The logits (N, num_classes, 8 h, 8 w) of all backbone outputs."""
        return self.cls_seg(self._forward_feature(inputs))
