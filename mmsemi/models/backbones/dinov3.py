# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""DINOv3: patches of 16 pixels, rotary positions, a class token and four storage tokens.

Siméoni et al., *DINOv3*, 2025, https://arxiv.org/abs/2508.10104. Written from a description, not from the
released code; the weights have a licence of their own. Files, licence and known answers: docs/encoders.md.
"""

from __future__ import annotations

import math

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...errors import CheckpointError
from .vision_transformer import Size, VisionTransformer

_STORAGE_TOKENS = 4


@MODELS.register_module()
class DINOv3(VisionTransformer):
    """DINOv3 S, S+, B or L (patch 16).

    The released files hold a bias of queries, keys and values that a mask of zeros removes: this network
    has none.

    Args:
        size: ``'small'``, ``'small_plus'``, ``'base'``, ``'large'``, or
            ``dict(embed_dims=, depth=, num_heads=)``.
        kwargs: See :class:`VisionTransformer`.
    """

    FAMILY = "DINOv3"
    LICENCE = (
        "the DINOv3 License (not Apache): what is derived from the weights, fine-tuned checkpoints too, is "
        "passed on under it alone"
    )
    SIZES = dict(
        small=Size(384, 12, 6, (2, 5, 8, 11)),
        small_plus=Size(384, 12, 6, (2, 5, 8, 11), gated=True),
        base=Size(768, 12, 12, (2, 5, 8, 11)),
        large=Size(1024, 24, 16, (4, 11, 17, 23)),
    )
    patch_size = 16
    NORM_EPS = 1e-5
    QKV_BIAS = False

    def __init__(self, size: str | dict = "small", **kwargs) -> None:
        super().__init__(size, **kwargs)
        self.storage_tokens = nn.Parameter(torch.zeros(1, _STORAGE_TOKENS, self.embed_dims))
        # Constants: they travel with a copy and to a device, and are in no checkpoint.
        periods = rope_periods(self.embed_dims // self.size.num_heads)
        self.register_buffer("periods", periods, persistent=False)

    def block_drop_path(self, number: int) -> float:
        """The same rate in every block."""
        return self.drop_path_rate

    def prefix_tokens(self) -> list[Tensor]:
        """The storage tokens."""
        return [self.storage_tokens]

    def rotation(self, grid_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Sines and cosines of the patches' angles."""
        angles = rope_angles(grid_hw, self.periods.float())
        return angles.sin(), angles.cos()

    def official_tensors(self) -> dict[str, tuple[int, ...]]:
        """Also the periods, and the masked biases of queries, keys and values."""
        shapes = super().official_tensors()
        for number in range(self.size.depth):
            for part in ("bias", "bias_mask"):
                shapes[f"blocks.{number}.attn.qkv.{part}"] = (3 * self.embed_dims,)
        return {**shapes, "rope_embed.periods": tuple(self.periods.shape)}

    def check_official(self, tensors: dict[str, Tensor]) -> None:
        """Refuse other periods, and biases that the mask leaves.

        Raises:
            CheckpointError: The file has some.
        """
        periods = self.periods.cpu()
        if not torch.equal(tensors["rope_embed.periods"].float(), periods):
            raise CheckpointError(
                f"rope_embed.periods are {tensors['rope_embed.periods'].tolist()}, DINOv3's are "
                f"{periods.tolist()}"
            )
        for number in range(self.size.depth):
            name = f"blocks.{number}.attn.qkv.bias"
            left = tensors[name].float() * tensors[f"{name}_mask"].float()
            if not bool((left == 0).all()):
                raise CheckpointError(
                    f"{name} times its mask is not 0, and DINOv3's queries, keys and values have no bias"
                )


def rope_periods(head_width: int) -> Tensor:
    """The periods 100^(i / P), P = head_width / 4, float32, rounded to bfloat16 as the files hold them."""
    number = head_width // 4
    exponents = torch.arange(number, dtype=torch.float32) / number
    return (100.0**exponents).bfloat16().float()


def rope_angles(grid_hw: tuple[int, int], periods_P: Tensor) -> Tensor:
    """Angles of the patches of a grid: 2 pi u / p of their row, then of their column, and both again.

    u in (-1, 1) is the patch's centre; each axis is measured by its own length, so that a larger image
    samples the same range more densely.

    Args:
        grid_hw: Rows and columns.
        periods_P: See :func:`rope_periods`.

    Returns:
        (h w, 4 P) float32.
    """
    axes = [
        (torch.arange(int(n), dtype=torch.float32, device=periods_P.device) + 0.5) / int(n) * 2 - 1
        for n in grid_hw
    ]
    centres_hw2 = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    angles = 2 * math.pi * centres_hw2.reshape(-1, 2, 1) / periods_P
    return angles.flatten(1).tile(1, 2)
