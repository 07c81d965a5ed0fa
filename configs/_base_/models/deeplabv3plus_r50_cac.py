# DeepLabv3+ of CAC: torchvision's ResNet-50 (7 x 7 stem, first ImageNet weights) with output stride 16 and multi-grid
# 2-4-8, an ASPP with a norm and a ReLU for each branch, element-wise dropout behind the ASPP, in the decoder and in
# front of the classifier. R101: backbone.depth=101 and torchvision://resnet101.
_base_ = "../default_runtime.py"
norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    type="Supervised",
    data_preprocessor=dict(
        type="SemiSegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        # Whole images, padded to a multiple of 8 by their own border.
        test_cfg=dict(size_divisor=8),
        test_padding="reflect",
    ),
    segmentor=dict(
        type="EncoderDecoder",
        backbone=dict(
            type="ResNet",
            depth=50,
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
            multi_grid=(2, 4, 8),
            norm_cfg=norm_cfg,
            style="pytorch",
            zero_init_residual=False,
            init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
        ),
        decode_head=dict(
            type="DeepLabV3PlusHead",
            aspp_form="cac",
            in_channels=[256, 2048],
            channels=256,
            c1_channels=48,
            num_classes=21,
            norm_cfg=norm_cfg,
            loss_decode=dict(type="PixelCrossEntropy"),
        ),
        test_cfg=dict(mode="whole"),
    ),
)
# PSPNet with a deep stem and output stride 8, in its place: model = dict(segmentor=_base_.pspnet).
pspnet = dict(
    backbone=dict(
        type="ResNetV1c",
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        multi_grid=None,
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://resnet50_v1c"),
    ),
    decode_head=dict(
        _delete_=True,
        type="PSPHead",
        in_channels=2048,
        in_index=3,
        channels=512,
        pool_scales=(1, 2, 3, 6),
        dropout_ratio=0.0,
        num_classes=21,
        norm_cfg=norm_cfg,
        align_corners=True,
        loss_decode=dict(type="PixelCrossEntropy"),
    ),
)

# ST++: output stride 8 by layers 3 and 4, wider branches, norms that are not synchronised, R50 or R101.
plain_norm_cfg = dict(type="BN", requires_grad=True)
wide = dict(
    backbone=dict(
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=True,
        multi_grid=None,
        norm_cfg=plain_norm_cfg,
    ),
    decode_head=dict(dilations=(1, 12, 24, 36), norm_cfg=plain_norm_cfg),
)
r101 = dict(
    backbone=dict(depth=101, init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet101"))
)
