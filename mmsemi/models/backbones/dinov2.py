# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""DINOv2: patches of 14 pixels, learned positions on a grid of 37 x 37, with or without registers.

Oquab et al., *DINOv2*, TMLR 2024, https://arxiv.org/abs/2304.07193; Darcet et al., *Vision Transformers Need
Registers*, ICLR 2024, https://arxiv.org/abs/2309.16588. Files, licence and known answers: docs/encoders.md.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...errors import ConfigError
from .vision_transformer import Size, VisionTransformer

#: Side of the grid that the positions were learned on: images of 518 x 518.
GRID = 37


@MODELS.register_module()
class DINOv2(VisionTransformer):
    """DINOv2 S, B or L (patch 14).

    Args:
        size: ``'small'``, ``'base'``, ``'large'``, or ``dict(embed_dims=, depth=, num_heads=)``.
        registers: 0, or 4 for the "reg4" files, whose positions are resampled in another way, too.
        kwargs: See :class:`VisionTransformer`.
    """

    FAMILY = "DINOv2"
    LICENCE = "Apache-2.0"
    SIZES = dict(
        small=Size(384, 12, 6, (2, 5, 8, 11)),
        base=Size(768, 12, 12, (2, 5, 8, 11)),
        large=Size(1024, 24, 16, (4, 11, 17, 23)),
    )
    patch_size = 14
    NORM_EPS = 1e-6
    QKV_BIAS = True

    def __init__(self, size: str | dict = "small", *, registers: int = 0, **kwargs: Any) -> None:
        if registers not in (0, 4):
            raise ConfigError(f"DINOv2: registers={registers} must be 0 or 4")
        super().__init__(size, **kwargs)
        self.registers = registers
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + GRID * GRID, self.embed_dims))
        if registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, registers, self.embed_dims))
        self._fixed: tuple[tuple[int, int], Tensor] | None = None

    def block_drop_path(self, number: int) -> float:
        """The rate grows from 0 at the first block to ``drop_path_rate`` at the last."""
        return self.drop_path_rate * number / max(1, self.size.depth - 1)

    def prefix_tokens(self) -> list[Tensor]:
        """The registers, which have no position."""
        return [self.register_tokens] if self.registers else []

    def add_positions(self, x_NTD: Tensor, grid_hw: tuple[int, int]) -> Tensor:
        """Add the positions, resampled to the image's grid."""
        return x_NTD + self.positions(grid_hw).to(x_NTD.dtype)

    def positions(self, grid_hw: tuple[int, int]) -> Tensor:
        """Positions (1, 1 + h w, D) of class and patches."""
        grid_hw = (int(grid_hw[0]), int(grid_hw[1]))
        if self._fixed is not None and self._fixed[0] == grid_hw:
            return self._fixed[1]
        table = self.pos_embed[:, 1:].float().reshape(1, GRID, GRID, -1).permute(0, 3, 1, 2)
        grid = resample_positions(table, grid_hw, antialias=self.registers > 0)
        grid = grid.permute(0, 2, 3, 1).flatten(1, 2).to(self.pos_embed.dtype)
        return torch.cat([self.pos_embed[:, :1], grid], dim=1)

    @torch.no_grad()
    def fix_size(self, size_hw: tuple[int, int]) -> None:
        """Keep the positions of one image size as numbers: exporters resample otherwise."""
        super().fix_size(size_hw)
        grid_hw = (size_hw[0] // self.patch_size, size_hw[1] // self.patch_size)
        self._fixed = grid_hw, self.positions(grid_hw).clone()

    def family_settings(self) -> dict[str, Any]:
        """Registers."""
        return dict(registers=self.registers)


def resample_positions(table_1DHW: Tensor, grid_hw: tuple[int, int], antialias: bool) -> Tensor:
    """Learned positions on another grid, as the released code of each kind resamples them.

    Without antialiasing (no registers) the coordinates come from the scale (n + 0.1) / side of each axis,
    as in training; with it (registers) from the sizes. A table of the grid's own size stays untouched.

    Args:
        table_1DHW: Float32, (1, D, side, side).
        grid_hw: Rows and columns.
        antialias: See above.

    Returns:
        (1, D, *grid_hw).
    """
    sides = tuple(table_1DHW.shape[-2:])
    if sides == tuple(grid_hw):
        return table_1DHW
    if antialias:
        return F.interpolate(table_1DHW, tuple(grid_hw), mode="bicubic", antialias=True)
    scale = tuple((n + 0.1) / side for n, side in zip(grid_hw, sides))
    return F.interpolate(table_1DHW, scale_factor=scale, mode="bicubic")
