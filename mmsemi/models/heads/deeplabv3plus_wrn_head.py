# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""DeepLabv3+ head of s4GAN's Cityscapes net on Wide ResNet-38: logits at stride 2.

Mittal et al., TPAMI 2021, arXiv 1908.05724, released code. It differs from
:class:`~mmsemi.models.heads.DeepLabV3PlusHead` where no option reaches: both 1x1 projections are bare
convolutions (no norm, no activation), the classifier has no bias, and the deep feature is resized
without aligned corners while the logits are resized with them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model.weight_init import update_init_info
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...errors import ConfigError


@MODELS.register_module()
class DeepLabV3PlusWRNHead(BaseDecodeHead):
    """ASPP over the stride-8 feature, two 3x3 convolutions at stride 2.

    ASPP: image mean, 1x1, and 3x3 for each dilation, each with norm and ReLU, concatenated in this
    order, then a bare 1x1. The low-level feature goes through a bare 1x1 to ``c1_channels`` and comes
    first in the concatenation. The decoder's convolutions and the classifier start Kaiming-normal
    (fan_in), the rest at torch's default. Give an ``init_cfg`` to replace this.

    In training mode the image branch normalises one value per image and channel: it needs two images
    in the batch, or a SyncBN over several processes.

    Args:
        in_channels: Channels of the (low-level, deep) feature.
        channels: Channels of ASPP and decoder.
        in_index: Which backbone outputs these are.
        dilations: Dilation of the ASPP's 3x3 convolutions.
        c1_channels: Channels of the reduced low-level feature.
        norm_cfg: Config of the norms.
        align_corners: Of the resizing of logits to the input size; the deep feature is resized
            without aligned corners, as in the released code.
        init_cfg: None for the initialisation above.
        **kwargs: Of mmseg's ``BaseDecodeHead`` (num_classes, loss_decode, ...).

    Raises:
        ConfigError: Not exactly two input features.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (128, 4096),
        channels: int = 256,
        *,
        in_index: Sequence[int] = (0, 1),
        dilations: Sequence[int] = (12, 24, 36),
        c1_channels: int = 48,
        dropout_ratio: float = 0.0,
        norm_cfg: dict | None = None,
        align_corners: bool = True,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        if not isinstance(in_channels, Sequence) or len(in_channels) != 2 or len(in_index) != 2:
            raise ConfigError(
                "DeepLabV3PlusWRNHead takes a low-level and a deep feature: give two in_channels "
                f"and in_index, got in_channels={in_channels}, in_index={in_index}"
            )
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
        low_channels, deep_channels = self.in_channels
        cfg = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        self.image_branch = ConvModule(deep_channels, channels, 1, **cfg)
        self.branches = nn.ModuleList([ConvModule(deep_channels, channels, 1, **cfg)])
        for dilation in dilations:
            self.branches.append(
                ConvModule(deep_channels, channels, 3, padding=dilation, dilation=dilation, **cfg)
            )
        joint_channels = channels * (len(dilations) + 2)
        self.aspp_projection = nn.Conv2d(joint_channels, channels, 1, bias=False)
        self.c1_projection = nn.Conv2d(low_channels, c1_channels, 1, bias=False)
        self.decoder = nn.Sequential(
            ConvModule(c1_channels + channels, channels, 3, padding=1, **cfg),
            ConvModule(channels, channels, 3, padding=1, **cfg),
        )
        self.conv_seg = nn.Conv2d(channels, self.out_channels, 1, bias=False)

    def init_weights(self) -> None:
        """Draw all weights anew, unless an ``init_cfg`` was given."""
        super().init_weights()
        if self.init_cfg is not None:
            return
        # After super(): ConvModule.init_weights draws by its own rule.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
        for module in (*self.decoder.modules(), self.conv_seg):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        if hasattr(self, "_params_init_info"):  # set while a parent module initialises
            update_init_info(self, "DeepLabV3PlusWRNHead: decoder Kaiming normal, rest default")

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the logits (N, num_classes, H/2, W/2) of all backbone outputs.

        Raises:
            ConfigError: A single image in training, which the image branch cannot normalise.
        """
        low, deep = self._transform_inputs(inputs)
        if self.training and len(deep) == 1 and type(self.image_branch.norm) is nn.BatchNorm2d:
            raise ConfigError(
                "DeepLabV3PlusWRNHead got a single image in training: its image-level branch cannot "
                "be batch-normalised over one value. Raise sampler.num_per_source so that every "
                "stream has 2 images per process, or use norm_cfg type SyncBN on several GPUs, or GN"
            )
        image = self.image_branch(deep.mean(dim=(2, 3), keepdim=True))
        # Upsampling a 1x1 map is a broadcast.
        parts = [image.expand(-1, -1, *deep.shape[2:]), *(branch(deep) for branch in self.branches)]
        deep = self.aspp_projection(torch.cat(parts, dim=1))
        deep = F.interpolate(deep, size=low.shape[2:], mode="bilinear", align_corners=False)
        return self.cls_seg(self.decoder(torch.cat([self.c1_projection(low), deep], dim=1)))
