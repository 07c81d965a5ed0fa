# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A linear classifier of patches, as DINOv2 and DINOv3 measure their encoders.

Siméoni et al., *DINOv3*, https://arxiv.org/abs/2508.10104, dense linear probing: on a frozen encoder.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class LinearHead(BaseDecodeHead):
    """Channel dropout, a norm without an activation, a 1x1 classifier; logits on the encoder's grid.

    Args:
        in_channels: Channels of the map, or of each of several, which are concatenated.
        in_index: Which backbone outputs it reads; the last map of four by default.
        dropout_ratio: Channel dropout.
        norm_cfg: Config of the norm.
        kwargs: Of mmseg's ``BaseDecodeHead`` (num_classes, loss_decode, ...).
    """

    def __init__(
        self,
        in_channels: int | Sequence[int] = 384,
        *,
        in_index: int | Sequence[int] = 3,
        dropout_ratio: float = 0.1,
        norm_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        several = isinstance(in_index, Sequence)
        widths = [in_channels] * len(in_index) if several and isinstance(in_channels, int) else None
        super().__init__(
            list(widths or in_channels) if several else in_channels,
            sum(widths or in_channels) if several else in_channels,
            in_index=list(in_index) if several else in_index,
            input_transform="resize_concat" if several else None,
            dropout_ratio=dropout_ratio,
            norm_cfg=norm_cfg or dict(type="SyncBN"),
            **kwargs,
        )
        self.norm = build_norm_layer(self.norm_cfg, self.channels)[1]

    def cls_seg(self, feat: Tensor) -> Tensor:
        """Logits of patches: the norm stands behind the dropout."""
        feat = feat if self.dropout is None else self.dropout(feat)
        return self.conv_seg(self.norm(feat))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The logits (N, num_classes, h, w) of all backbone outputs."""
        return self.cls_seg(self._transform_inputs(inputs))
