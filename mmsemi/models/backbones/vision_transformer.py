# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The vision transformer of DINOv2 and DINOv3, as an encoder of feature maps.

Dosovitskiy et al., *An Image is Worth 16x16 Words*, ICLR 2021, https://arxiv.org/abs/2010.11929: pre-norm
blocks with LayerScale (Touvron et al., https://arxiv.org/abs/2103.17239). What differs between the families
(positions, tokens beside the patches) is in :mod:`dinov2` and :mod:`dinov3`; parameters have the names of
the released files, so that these load without a table of names.

Shape suffixes: N images, T tokens, D channels, h, w the grid of patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from mmengine.model.weight_init import update_init_info
from torch import Tensor, nn

from ...errors import ConfigError, close_matches
from .official_weights import load_official_file


class Size(NamedTuple):
    """The size of a transformer.

    Attributes:
        embed_dims: Channels of a token, D.
        depth: Blocks.
        num_heads: Attention heads, each D / num_heads wide.
        taps: Blocks that are returned by default, from 0.
        gated: A SwiGLU instead of an MLP in each block.
    """

    embed_dims: int
    depth: int
    num_heads: int
    taps: tuple[int, ...]
    gated: bool = False


class LayerScale(nn.Module):
    """A learned factor for each channel."""

    def __init__(self, channels: int, value: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), float(value)))

    def forward(self, x_NTD: Tensor) -> Tensor:
        """The scaled tokens."""
        return x_NTD * self.gamma


class Attention(nn.Module):
    """Self-attention of all tokens; a rotation of the patches' queries and keys gives them positions."""

    def __init__(self, channels: int, num_heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x_NTD: Tensor, rotation: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Attended tokens; ``rotation`` holds sines and cosines of the last tokens, see :func:`rotate`."""
        n, t, d = x_NTD.shape
        # Grouped as query, key, value, then by head.
        qkv = self.qkv(x_NTD).reshape(n, t, 3, self.num_heads, d // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if rotation is not None:
            query, key = (rotate(x, *rotation).to(value.dtype) for x in (query, key))
        out = F.scaled_dot_product_attention(query, key, value)
        return self.proj(out.transpose(1, 2).reshape(n, t, d))


def rotate(x: Tensor, sin_PC: Tensor, cos_PC: Tensor) -> Tensor:
    """Rotate channel k with channel k + C/2 of the last P tokens, by an angle of each token, in float32.

    Su et al., *RoFormer*, https://arxiv.org/abs/2104.09864.

    Args:
        x: (..., T, C) queries or keys; the first T - P tokens have no position and stay as they are.
        sin_PC: Sines (P, C), float32.
        cos_PC: Cosines, likewise.
    """
    first = x.shape[-2] - sin_PC.shape[0]
    prefix, patches = x[..., :first, :].float(), x[..., first:, :].float()
    low, high = patches.chunk(2, -1)
    turned = patches * cos_PC + torch.cat([-high, low], -1) * sin_PC
    return torch.cat([prefix, turned], -2)


class Mlp(nn.Module):
    """Two layers with a GELU between them, four times as wide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x_NTD: Tensor) -> Tensor:
        """The transformed tokens."""
        return self.fc2(F.gelu(self.fc1(x_NTD)))


class SwiGLU(nn.Module):
    """A gated MLP: w3 (silu(w1 x) w2 x). Shazeer, https://arxiv.org/abs/2002.05202."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(channels, 4 * channels)
        self.w2 = nn.Linear(channels, 4 * channels)
        self.w3 = nn.Linear(4 * channels, channels)

    def forward(self, x_NTD: Tensor) -> Tensor:
        """The transformed tokens."""
        return self.w3(F.silu(self.w1(x_NTD)) * self.w2(x_NTD))


class Block(nn.Module):
    """x + s1 attention(norm x), then x + s2 mlp(norm x), with drop path on both."""

    def __init__(
        self, size: Size, eps: float, qkv_bias: bool, layer_scale: float, drop_path: float
    ) -> None:
        super().__init__()
        channels = size.embed_dims
        self.norm1 = nn.LayerNorm(channels, eps=eps)
        self.attn = Attention(channels, size.num_heads, qkv_bias)
        self.ls1 = LayerScale(channels, layer_scale)
        self.norm2 = nn.LayerNorm(channels, eps=eps)
        self.mlp = SwiGLU(channels) if size.gated else Mlp(channels)
        self.ls2 = LayerScale(channels, layer_scale)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x_NTD: Tensor, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        """The tokens behind this block."""
        x_NTD = x_NTD + self.drop_path(self.ls1(self.attn(self.norm1(x_NTD), rotation)))
        return x_NTD + self.drop_path(self.ls2(self.mlp(self.norm2(x_NTD))))


class PatchEmbed(nn.Module):
    """A convolution that makes a token of each patch."""

    def __init__(self, patch_size: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, patch_size, stride=patch_size)


class VisionTransformer(BaseModule):
    """Images to maps of patch tokens behind some of the blocks; the frame of both families.

    Blocks behind the last one that is returned are not built, since nothing would train them.

    Args:
        size: Name of a size in ``SIZES``, or the fields of a :class:`Size` as a dictionary.
        out_indices: Blocks to return, from 0; None: those of the size. Maps come in the blocks' order.
        final_norm: Pass each map through the last norm, as the released linear and DPT heads expect it.
        drop_path_rate: Probability that a sample skips a branch of a block; by the family's rule.
        layer_scale: Start of LayerScale without a weight file.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` loads a released file, strictly; None: random.

    Raises:
        ConfigError: A setting is wrong, or a forward gets images whose sides are no multiple of the patch.
        CheckpointError: The weight file is not of this network.
    """

    FAMILY: ClassVar[str]
    LICENCE: ClassVar[str]
    SIZES: ClassVar[dict[str, Size]]
    patch_size: ClassVar[int]
    NORM_EPS: ClassVar[float]
    QKV_BIAS: ClassVar[bool]
    #: A trace at one size keeps the positions of that size for any other, and says nothing.
    traces_one_size: ClassVar[bool] = True

    def __init__(
        self,
        size: str | dict = "small",
        *,
        out_indices: Sequence[int] | None = None,
        final_norm: bool = True,
        drop_path_rate: float = 0.0,
        layer_scale: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.size = self._read_size(size)
        self.out_indices = self._read_taps(out_indices)
        if not 0 <= drop_path_rate < 1:
            raise ConfigError(f"{self.FAMILY}: drop_path_rate={drop_path_rate} must lie in [0, 1)")
        self.embed_dims, self.drop_path_rate = self.size.embed_dims, drop_path_rate
        dims = self.embed_dims
        self.patch_embed = PatchEmbed(self.patch_size, dims)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dims))
        self.blocks = nn.ModuleList(
            Block(self.size, self.NORM_EPS, self.QKV_BIAS, layer_scale, self.block_drop_path(i))
            for i in range(self.out_indices[-1] + 1)
        )
        self.norm = nn.LayerNorm(dims, eps=self.NORM_EPS) if final_norm else None

    def _read_size(self, size: str | dict) -> Size:
        if isinstance(size, str):
            if size not in self.SIZES:
                raise ConfigError(
                    f"{self.FAMILY} has no size={size!r}{close_matches(size, self.SIZES)} (known: "
                    f"{', '.join(self.SIZES)})"
                )
            return self.SIZES[size]
        fields = dict(size)
        try:
            depth = fields["depth"]
            fields.setdefault("taps", tuple((i + 1) * depth // 4 - 1 for i in range(4)))
            size = Size(**fields)
        except (TypeError, KeyError) as error:
            raise ConfigError(
                f"{self.FAMILY}: size={fields} needs embed_dims, depth and num_heads ({error})"
            ) from None
        if size.embed_dims % (4 * size.num_heads):
            raise ConfigError(
                f"{self.FAMILY}: embed_dims={size.embed_dims} must be a multiple of 4 x num_heads="
                f"{4 * size.num_heads}"
            )
        return size

    def _read_taps(self, out_indices: Sequence[int] | None) -> tuple[int, ...]:
        taps = tuple(self.size.taps if out_indices is None else out_indices)
        if not taps or list(taps) != sorted({*taps}) or taps[0] < 0 or taps[-1] >= self.size.depth:
            raise ConfigError(
                f"{self.FAMILY}: out_indices={taps} must grow and lie in 0 to {self.size.depth - 1}"
            )
        return taps

    def block_drop_path(self, number: int) -> float:
        """Drop path of a block."""
        raise NotImplementedError

    def prefix_tokens(self) -> list[Tensor]:
        """Tokens (1, ., D) between the class token and the patches."""
        return []

    def add_positions(self, x_NTD: Tensor, grid_hw: tuple[int, int]) -> Tensor:
        """Class and patch tokens with what is added to them."""
        return x_NTD

    def rotation(self, grid_hw: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
        """Sines and cosines of the patch tokens' angles; None where tokens are not rotated."""
        return None

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, ...]:
        """The maps (N, D, H / patch, W / patch) behind the tapped blocks, in their order.

        Args:
            x_NCHW: Normalised RGB.
        """
        self.check_sides(x_NCHW.shape[-2:])
        patches = self.patch_embed.proj(x_NCHW)
        n, _, h, w = patches.shape
        x = torch.cat([self.cls_token.expand(n, -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        x = self.add_positions(x, (h, w))
        prefix = [token.expand(n, -1, -1) for token in self.prefix_tokens()]
        x = torch.cat([x[:, :1], *prefix, x[:, 1:]], dim=1) if prefix else x
        rotation, maps = self.rotation((h, w)), []
        for number, block in enumerate(self.blocks):
            x = block(x, rotation)
            if number in self.out_indices:
                tokens = (x if self.norm is None else self.norm(x))[:, -h * w :]
                maps.append(tokens.transpose(1, 2).reshape(n, -1, h, w))
        return tuple(maps)

    def check_sides(self, size_hw: Sequence[int]) -> None:
        """Refuse images whose sides are no multiple of the patch; nothing is padded or cut silently.

        Raises:
            ConfigError: Names the next sizes.
        """
        patch = self.patch_size
        if all(int(side) % patch == 0 for side in size_hw):
            return
        found = "x".join(str(int(side)) for side in size_hw)
        below = "x".join(str(max(1, int(side) // patch) * patch) for side in size_hw)
        above = "x".join(str(-(-int(side) // patch) * patch) for side in size_hw)
        raise ConfigError(
            f"{self.FAMILY} takes images whose sides are multiples of its patch, {patch}, and got "
            f"{found}: the next sizes are {below} and {above} (training: "
            "train_dataloader.dataset.crop_size; testing: segmentor.type='PatchGridEncoderDecoder' "
            "resizes images and windows)"
        )

    def fix_size(self, size_hw: tuple[int, int]) -> None:
        """Called before a trace at one size, on a copy; a family computes there what no trace can.

        Raises:
            ConfigError: The sides are no multiples of the patch.
        """
        self.check_sides(size_hw)

    # ---------------------------------------------------------------- weights

    def official_tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes in the released file of this size, of all its blocks."""
        with torch.device("meta"):
            whole = type(self)(
                self.size._asdict(),
                out_indices=(self.size.depth - 1,),
                **self.family_settings(),
            )
        shapes = {name: tuple(value.shape) for name, value in whole.state_dict().items()}
        return {**shapes, "mask_token": (1, self.embed_dims)}

    def family_settings(self) -> dict[str, Any]:
        """Settings of the family on which names and shapes depend."""
        return {}

    def check_official(self, tensors: dict[str, Tensor]) -> None:
        """Refuse values in a released file that this network would compute otherwise."""

    def init_weights(self) -> None:
        """Load the released file that ``init_cfg`` names, or draw weights.

        Raises:
            ConfigError: ``init_cfg`` is neither None nor a ``Pretrained`` without a prefix.
            CheckpointError: The file is not of this network.
        """
        cfg = self.init_cfg
        if cfg is None:
            source = "truncated normal, std 0.02"
            self._draw_weights()
        elif not (isinstance(cfg, dict) and cfg.get("type") == "Pretrained") or cfg.get("prefix"):
            raise ConfigError(
                f"{self.FAMILY}: init_cfg={cfg} must be None or dict(type='Pretrained', "
                "checkpoint='a released file'); a checkpoint of a training belongs into load_from"
            )
        else:
            source = str(cfg["checkpoint"])
            load_official_file(self, source)
        if hasattr(self, "_params_init_info"):  # set while a parent module initialises
            update_init_info(self, f"{self.FAMILY}: {source}")
        self._is_init = True

    def _draw_weights(self) -> None:
        for name, value in self.named_parameters():
            if value.ndim > 1 or "token" in name:
                nn.init.trunc_normal_(value, std=0.02)
            elif name.endswith(".bias"):
                nn.init.zeros_(value)
