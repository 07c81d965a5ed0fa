# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Tiny networks of different kinds; a training step takes milliseconds."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from step_runner import CLASSES

BN = dict(type="BN", requires_grad=True)
RESNET = dict(
    type="ResNetV1c",
    depth=18,
    base_channels=4,
    stem_channels=4,
    num_stages=2,
    strides=(1, 2),
    dilations=(1, 1),
    out_indices=(0, 1),
    norm_cfg=BN,
    zero_init_residual=False,  # nothing in front of a zero gets a gradient
    init_cfg=None,
)


def initial(std: float) -> dict:
    """Initialisation of a classifier.

    With mmseg's 0.01 every class has an equal probability, and thresholds do nothing.
    """
    return dict(type="Normal", std=std, override=dict(name="conv_seg"))


def _head(kind: str, in_channels: Any, in_index: Any, **kwargs) -> dict:
    return dict(
        type=kind,
        in_channels=in_channels,
        in_index=in_index,
        channels=8,
        num_classes=len(CLASSES),
        loss_decode=dict(type="PixelCrossEntropy"),
        init_cfg=initial(1.0),
        **dict(dict(norm_cfg=BN), **kwargs),
    )


FCN = dict(
    type="EncoderDecoder",
    backbone=RESNET,
    decode_head=_head("FCNHead", 8, 1, num_convs=1, dropout_ratio=0.1),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
#: A transformer with several tapped maps and an auxiliary head, a cascade, a head with two inputs.
ARCHITECTURES = dict(
    segformer=dict(
        FCN,
        backbone=dict(
            type="MixVisionTransformer",
            embed_dims=4,
            num_stages=2,
            num_layers=[1, 1],
            num_heads=[1, 1],
            patch_sizes=[7, 3],
            strides=[4, 2],
            sr_ratios=[4, 2],
            out_indices=(0, 1),
            mlp_ratio=2,
            init_cfg=None,
        ),
        decode_head=_head("SegformerHead", [4, 4], [0, 1]),
        auxiliary_head=_head("FCNHead", 4, 1, num_convs=1, concat_input=False),
    ),
    ocr=dict(
        FCN,
        type="CascadeEncoderDecoder",
        num_stages=2,
        backbone=dict(RESNET, strides=(1, 1)),
        decode_head=[
            _head("FCNHead", 4, 0, num_convs=1, concat_input=False),
            _head("OCRHead", 8, 1, ocr_channels=4),
        ],
    ),
    deeplabv3plus=dict(
        FCN,
        decode_head=_head(
            "DepthwiseSeparableASPPHead",
            8,
            1,
            dilations=(1, 2),
            c1_in_channels=4,
            c1_channels=4,
        ),
    ),
)
#: As configs/_base_/models/dpt_dinov3_s.py.
VIT = dict(
    FCN,
    backbone=dict(type="DINOv3", size=dict(embed_dims=16, depth=4, num_heads=2)),
    decode_head=dict(
        type="DINOv2DPTHead",
        in_channels=16,
        channels=8,
        reassemble_channels=(4, 4, 8, 8),
        num_classes=len(CLASSES),
        loss_decode=dict(type="PixelCrossEntropy"),
    ),
)
if find_spec("timm"):
    #: As configs/_base_/models/deeplabv3plus_efficientnet_lite0.py, with the smallest net of its kind.
    TIMM = dict(
        FCN,
        backbone=dict(
            type="mmpretrain.TIMMBackbone",
            model_name="test_efficientnet",
            features_only=True,
            output_stride=16,
        ),
        decode_head=_head(
            "DeepLabV3PlusHead",
            [24, 64],
            [1, 4],
            aspp_form="cac",
            dilations=(1, 2),
            c1_channels=8,
            norm_cfg=dict(type="GN", num_groups=4),
        ),
    )
    ARCHITECTURES["timm"] = TIMM
#: Of mmpretrain; with its 0.01 all images have nearly the same scores.
CLASSIFIER = dict(
    type="mmpretrain.ImageClassifier",
    backbone=dict(
        type="ResNet",
        depth=18,
        base_channels=4,
        stem_channels=4,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(1,),
        norm_cfg=BN,
        zero_init_residual=False,
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="MultiLabelLinearClsHead",
        num_classes=len(CLASSES),
        in_channels=8,
        init_cfg=dict(type="Normal", layer="Linear", std=1.0),
    ),
)
