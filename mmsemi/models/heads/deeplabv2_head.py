# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""DeepLabv2 head: parallel dilated convolutions straight to the classes, summed.

Chen et al., *DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution,
and Fully Connected CRFs*, TPAMI 2018, arXiv 1606.00915. mmseg's ``ASPPHead`` is DeepLabv3's. AdvSemiSeg
(arXiv 1802.07934) and s4GAN (arXiv 1908.05724) use this head on a ResNet-101 of output stride 8, see
``configs/_base_/models/deeplabv2_r101.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn as nn
from mmcv.cnn import build_conv_layer
from mmengine.model.weight_init import update_init_info
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor

from ...errors import ConfigError


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """One 3x3 convolution with bias per dilation, all from the feature to the classes, summed.

    There is no hidden layer, no norm and no separate classifier (``conv_seg``). Weights start from
    N(0, 0.01), biases at torch's default. Give an ``init_cfg`` to replace this.

    Args:
        in_channels: Channels of the backbone's feature.
        in_index: Which backbone output it is.
        dilations: Dilation of each branch; the padding is the same, so the size stays.
        num_active_branches: The first so many branches are summed. ``None`` is all of them, as in
            the paper. The released code of AdvSemiSeg and s4GAN returns after two: their published
            checkpoints hold four branches and need 2 here. The state dict is the same either way.
        dropout_ratio: Channel dropout before the branches; the published nets have none.
        align_corners: Of the upsampling to the input size.
        init_cfg: None for the initialisation above.
        **kwargs: Of mmseg's ``BaseDecodeHead`` (num_classes, loss_decode, ...).

    Raises:
        ConfigError: No dilations, or not between 1 and all branches active.
    """

    def __init__(
        self,
        in_channels: int = 2048,
        *,
        in_index: int = 3,
        dilations: Sequence[int] = (6, 12, 18, 24),
        num_active_branches: int | None = None,
        dropout_ratio: float = 0.0,
        align_corners: bool = True,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        if num_active_branches is None:
            num_active_branches = len(dilations)
        if not 1 <= num_active_branches <= len(dilations):
            raise ConfigError(
                f"DeepLabV2Head: num_active_branches={num_active_branches} is not between 1 and the "
                f"number of dilations, {len(dilations)}"
            )
        kwargs.setdefault("channels", 1)  # of the base's classifier, which is removed below
        super().__init__(
            in_channels,
            in_index=in_index,
            dropout_ratio=dropout_ratio,
            align_corners=align_corners,
            init_cfg=init_cfg,
            **kwargs,
        )
        del self.conv_seg
        self.dilations = tuple(dilations)
        self.num_active_branches = num_active_branches
        self.branches = nn.ModuleList(
            build_conv_layer(
                self.conv_cfg,
                self.in_channels,
                self.out_channels,
                kernel_size=3,
                padding=dilation,
                dilation=dilation,
            )
            for dilation in self.dilations
        )
        # A branch that never takes part must not look trainable: DDP would wait for its gradient,
        # and weight decay would shrink it.
        self.branches[num_active_branches:].requires_grad_(False)

    def init_weights(self) -> None:
        """Draw all weights anew, unless an ``init_cfg`` was given."""
        super().init_weights()
        if self.init_cfg is not None:
            return
        for branch in self.branches:
            branch.reset_parameters()  # the bias keeps torch's default
            nn.init.normal_(branch.weight, std=0.01)
        if hasattr(self, "_params_init_info"):  # set while a parent module initialises
            update_init_info(self, "DeepLabV2Head: weights N(0, 0.01), biases torch's default")

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the logits (N, num_classes, h, w) at the feature's size, of all backbone outputs."""
        feature = self._transform_inputs(inputs)
        if self.dropout is not None:
            feature = self.dropout(feature)
        logits = self.branches[0](feature)
        for branch in self.branches[1 : self.num_active_branches]:
            logits = logits + branch(feature)
        return logits
