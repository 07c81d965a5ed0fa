# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""DeepLabv3+ head with full (not depthwise) convolutions, as the semi-supervised papers use it.

mmseg's ``DepthwiseSeparableASPPHead`` is another network: separable convolutions, a ReLU ASPP with
a norm per branch, channel dropout 0.1. The two forms here are those behind the published numbers:

* ``'cps'``: Chen et al., *Semi-Supervised Semantic Segmentation With Cross Pseudo Supervision*,
  CVPR 2021 (arXiv 2106.01226). One joint norm over the concatenated branches, LeakyReLU, image
  branch added after the projection, no dropout.
* ``'cac'``: Lai et al., *Semi-supervised Semantic Segmentation with Directional Context-aware
  Consistency*, CVPR 2021 (arXiv 2106.14133). Conv-norm-ReLU per branch, image branch concatenated,
  dropout after the ASPP, inside the decoder and before the classifier.

The backbone of both is a dilated ResNet of output stride 16; in mmseg's terms strides (1, 2, 2, 1),
dilations (1, 1, 1, 2), multi_grid (2, 4, 8) and contract_dilation off. 'cps' takes ResNetV1c with
``stem_channels=128``, 'cac' the plain ResNet.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_activation_layer, build_conv_layer, build_norm_layer
from mmengine.model import BaseModule
from mmengine.model.weight_init import update_init_info
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import ConfigError

_LEAKY_RELU = dict(type="LeakyReLU", negative_slope=0.01)


def _branch_geometry(dilation: int) -> dict:
    """Kernel of one ASPP branch: 1x1 for dilation 1, else a 3x3 that keeps the size."""
    if dilation == 1:
        return dict(kernel_size=1)
    return dict(kernel_size=3, padding=dilation, dilation=dilation)


class JointNormASPP(BaseModule):
    """ASPP of the CPS code: the branches share one norm, the image branch is added at the end.

    out = act(norm(project(act(norm(concat(branches)))) + project(act(norm(conv(mean))))).

    Args:
        in_channels: Channels of the input.
        channels: Channels of every branch and of the output.
        dilations: Dilation of each branch; 1 stands for a 1x1 convolution.
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        dilations: Sequence[int],
        conv_cfg: dict | None,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            build_conv_layer(conv_cfg, in_channels, channels, bias=False, **_branch_geometry(d))
            for d in dilations
        )
        joint_channels = channels * len(dilations)
        self.branches_norm = build_norm_layer(norm_cfg, joint_channels)[1]
        self.branches_project = build_conv_layer(
            conv_cfg, joint_channels, channels, kernel_size=1, bias=False
        )
        self.image_conv = ConvModule(
            in_channels, channels, 1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg
        )
        self.image_project = build_conv_layer(
            conv_cfg, channels, channels, kernel_size=1, bias=False
        )
        self.out_norm = build_norm_layer(norm_cfg, channels)[1]
        self.act = build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H, W)."""
        branches = torch.cat([branch(x) for branch in self.branches], dim=1)
        branches = self.branches_project(self.act(self.branches_norm(branches)))
        image = self.image_project(self.image_conv(x.mean(dim=(2, 3), keepdim=True)))
        return self.act(self.out_norm(branches + image))


class BranchNormASPP(BaseModule):
    """ASPP of DeepLabv3 (Chen et al., arXiv 1706.05587): conv-norm-act branches, concat, project.

    Args:
        in_channels: Channels of the input.
        channels: Channels of every branch and of the output.
        dilations: Dilation of each branch; 1 stands for a 1x1 convolution.
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        dilations: Sequence[int],
        conv_cfg: dict | None,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        cfg = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.branches = nn.ModuleList(
            ConvModule(in_channels, channels, **_branch_geometry(d), **cfg) for d in dilations
        )
        self.image_conv = ConvModule(in_channels, channels, 1, **cfg)
        self.project = ConvModule(channels * (len(dilations) + 1), channels, 1, **cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H, W)."""
        branches = [branch(x) for branch in self.branches]
        image = self.image_conv(x.mean(dim=(2, 3), keepdim=True))
        # Upsampling a 1x1 map is a broadcast.
        branches.append(image.expand(-1, -1, *x.shape[2:]))
        return self.project(torch.cat(branches, dim=1))


# form: ASPP class, its activation, dropout after (ASPP, first decoder conv, decoder)
_FORMS = dict(
    cps=(JointNormASPP, _LEAKY_RELU, (0.0, 0.0, 0.0)),
    cac=(BranchNormASPP, dict(type="ReLU"), (0.5, 0.5, 0.1)),
)


@MODELS.register_module()
class DeepLabV3PlusHead(BaseDecodeHead):
    """Plain DeepLabv3+ decode head in the form of CPS (default) or of CAC.

    Low-level feature -> 1x1 conv to ``c1_channels``; deep feature -> ASPP, upsampled to the
    low-level size; concat -> two 3x3 convs -> 1x1 classifier. The logits keep the low-level size
    (stride 4). Convolution weights, the classifier's included, start Kaiming-normal (fan_in, ReLU
    gain), the classifier bias at torch's default, norms at 1 and 0. Give an ``init_cfg`` to replace
    this.

    In training mode the image branch normalises one value per image and channel: it needs two
    images in the batch, or a SyncBN over several processes.

    Args:
        in_channels: Channels of the (low-level, deep) feature, e.g. (256, 2048).
        channels: Channels of ASPP and decoder; 256 in the papers, 32 makes a narrow net.
        in_index: Which backbone outputs these are.
        aspp_form: 'cps' or 'cac', see the module docstring.
        dilations: Dilation of each ASPP branch; 1 stands for a 1x1 convolution.
        c1_channels: Channels of the reduced low-level feature.
        aspp_dropout: Dropout after the ASPP; None takes the form's (cps 0, cac 0.5).
        decoder_dropout: Dropout after the first 3x3 conv; None takes the form's (cps 0, cac 0.5).
        dropout_ratio: Dropout before the classifier; None takes the form's (cps 0, cac 0.1).
            All dropouts are element-wise, unlike mmseg's channel dropout.
        norm_cfg: Config of the norms.
        input_transform: Only 'multiple_select' makes sense.
        align_corners: Of every upsampling, the one to the input size included.
        init_cfg: None for the initialisation above.
        **kwargs: Of mmseg's ``BaseDecodeHead`` (num_classes, loss_decode, ...).

    Raises:
        ConfigError: Unknown ``aspp_form``, or not exactly two input features.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 2048),
        channels: int = 256,
        *,
        in_index: Sequence[int] = (0, 3),
        aspp_form: str = "cps",
        dilations: Sequence[int] = (1, 6, 12, 18),
        c1_channels: int = 48,
        aspp_dropout: float | None = None,
        decoder_dropout: float | None = None,
        dropout_ratio: float | None = None,
        norm_cfg: dict | None = None,
        input_transform: str = "multiple_select",
        align_corners: bool = True,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        if aspp_form not in _FORMS:
            raise ConfigError(
                f"DeepLabV3PlusHead: aspp_form={aspp_form!r} is not one of {sorted(_FORMS)}"
            )
        aspp_class, aspp_act, form_dropouts = _FORMS[aspp_form]
        aspp_dropout, decoder_dropout, dropout_ratio = (
            form_value if given is None else given
            for given, form_value in zip(
                (aspp_dropout, decoder_dropout, dropout_ratio), form_dropouts
            )
        )
        if (
            input_transform != "multiple_select"
            or not isinstance(in_channels, Sequence)
            or len(in_channels) != 2
        ):
            raise ConfigError(
                "DeepLabV3PlusHead takes a low-level and a deep feature: give two in_channels and "
                "in_index and input_transform='multiple_select', got "
                f"in_channels={in_channels}, in_index={in_index}, {input_transform=}"
            )
        super().__init__(
            list(in_channels),
            channels,
            in_index=list(in_index),
            input_transform=input_transform,
            dropout_ratio=dropout_ratio,
            norm_cfg=norm_cfg or dict(type="BN"),
            align_corners=align_corners,
            init_cfg=init_cfg,
            **kwargs,
        )
        low_channels, deep_channels = self.in_channels
        cfg = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        self.aspp = aspp_class(
            deep_channels, channels, dilations, self.conv_cfg, self.norm_cfg, aspp_act
        )
        self.aspp_dropout = nn.Dropout(aspp_dropout)
        self.c1_bottleneck = ConvModule(low_channels, c1_channels, 1, **cfg)
        self.decoder = nn.Sequential(
            ConvModule(channels + c1_channels, channels, 3, padding=1, **cfg),
            nn.Dropout(decoder_dropout),
            ConvModule(channels, channels, 3, padding=1, **cfg),
        )
        # BaseDecodeHead makes a channel dropout; the papers drop single elements.
        self.dropout = nn.Dropout(dropout_ratio) if dropout_ratio > 0 else None

    def init_weights(self) -> None:
        """Draw all weights anew, unless an ``init_cfg`` was given."""
        super().init_weights()
        if self.init_cfg is not None:
            return
        # After super(): ConvModule.init_weights sets fan_out, and would have the last word.
        self.conv_seg.reset_parameters()  # the bias keeps torch's default
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            elif isinstance(module, (_BatchNorm, nn.GroupNorm)) and module.affine:
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        if hasattr(self, "_params_init_info"):  # set while a parent module initialises
            update_init_info(self, "DeepLabV3PlusHead: Kaiming normal, fan_in, ReLU gain")

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the decoder feature before dropout and classifier, (N, channels, H/4, W/4).

        Args:
            inputs: All backbone outputs.
        """
        low, deep = self._transform_inputs(inputs)
        if self.training and len(deep) == 1 and type(self.aspp.image_conv.norm) is nn.BatchNorm2d:
            raise ConfigError(
                "DeepLabV3PlusHead got a single image in training: its image-level branch cannot be "
                "batch-normalised over one value. Raise sampler.num_per_source so that every stream "
                "has 2 images per process (CutMix: 4 unlabelled), or use norm_cfg type SyncBN on "
                "several GPUs, or GN"
            )
        deep = self.aspp_dropout(self.aspp(deep))
        deep = F.interpolate(
            deep, size=low.shape[2:], mode="bilinear", align_corners=self.align_corners
        )
        return self.decoder(torch.cat([self.c1_bottleneck(low), deep], dim=1))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the logits (N, num_classes, H/4, W/4) of all backbone outputs."""
        return self.cls_seg(self._forward_feature(inputs))
