# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""U2PL's DeepLabv3+ decoder, whose classifier has two more convolutions.

Wang, Wang, Shen, Fei, Li, Jin, Wu, Zhao, Le, *Semi-Supervised Semantic Segmentation Using Unreliable
Pseudo-Labels*, CVPR 2022, https://arxiv.org/abs/2203.03884.

Differs from ``DeepLabV3PlusHead``: the ASPP ends in a 3x3 convolution, the low-level feature keeps as
many channels as the deep one, all dropouts drop channels, and what the classifier and the
representation head of :class:`~mmsemi.models.U2PL` share are both features side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..features import convolutions
from .deeplabv3plus_head import BranchNormASPP


@MODELS.register_module()
class U2PLHead(BaseDecodeHead):
    """Decoder of U2PL, for backbones of output stride 8. Weights start as torch's own.

    Convolutions in front of a norm have no bias; three of the released ones have one, which does nothing.

    Args:
        in_channels: Channels of the (low-level, deep) feature.
        channels: Channels of everything.
        in_index: Which backbone outputs these are.
        dilations: Dilation of each branch of the ASPP; 1 stands for a 1x1 convolution.
        dropout_ratio: Of the channels, behind the ASPP and each convolution of the classifier.
        norm_cfg: Config of the norms.
        align_corners: Of every upsampling, the one to the input size included.
        init_cfg: None for torch's own weights.
        **kwargs: Of mmseg's ``BaseDecodeHead`` (num_classes, loss_decode, ...).
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 2048),
        channels: int = 256,
        *,
        in_index: Sequence[int] = (0, 3),
        dilations: Sequence[int] = (1, 12, 24, 36),
        dropout_ratio: float = 0.1,
        norm_cfg: dict | None = None,
        align_corners: bool = True,
        init_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            list(in_channels),
            channels,
            in_index=list(in_index),
            input_transform="multiple_select",
            dropout_ratio=dropout_ratio,
            norm_cfg=norm_cfg or dict(type="BN"),
            align_corners=align_corners,
            init_cfg=init_cfg,
            **kwargs,
        )
        low, deep = self.in_channels
        cfg = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        self.aspp = BranchNormASPP(deep, channels, dilations, **cfg)
        branches = len(dilations) + 1
        self.aspp.project = ConvModule(channels * branches, channels, 3, padding=1, **cfg)
        self.low = ConvModule(low, channels, 1, **cfg)
        #: Channels of what :meth:`cls_seg` is given.
        self.feature_channels = 2 * channels
        *layers, _ = convolutions(self.feature_channels, channels, self.norm_cfg, dropout_ratio)
        self.classifier = nn.Sequential(*layers)  # the last dropout is that of ``cls_seg``

    def init_weights(self) -> None:
        """Torch's own weights, unless an ``init_cfg`` was given."""
        super().init_weights()
        if self.init_cfg is None:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Both features (N, 2 channels, H/4, W/4), which the classifier is given.

        Args:
            inputs: All backbone outputs.
        """
        low, deep = self._transform_inputs(inputs)
        deep = self.aspp(deep)
        if self.dropout is not None:
            deep = self.dropout(deep)
        deep = F.interpolate(
            deep, size=low.shape[2:], mode="bilinear", align_corners=self.align_corners
        )
        return torch.cat([deep, self.low(low)], dim=1)

    def cls_seg(self, feat: Tensor) -> Tensor:
        """Classify each pixel."""
        return super().cls_seg(self.classifier(feat))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the logits (N, num_classes, H/4, W/4) of all backbone outputs."""
        return self.cls_seg(self._forward_feature(inputs))
