# DeepLabv3+ of UniMatch V1 (ResNet-101, output stride 16, plain ASPP, no dropout). Unlike CPS's net: no
# multi-grid (the last stage dilates by 1, 2, 2) and a norm for each ASPP branch.
# The published stem is 64-64-128 wide; OpenMMLab's v1c weights fit 32-32-64, which is used here. With
# weights for the published one: model.segmentor.backbone.stem_channels=128 and their file as
# model.segmentor.backbone.init_cfg.checkpoint.
_base_ = "../default_runtime.py"
norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    type="Supervised",
    data_preprocessor=dict(
        type="SemiSegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    segmentor=dict(
        type="EncoderDecoder",
        backbone=dict(
            type="ResNetV1c",
            depth=101,
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
            contract_dilation=True,
            norm_cfg=norm_cfg,
            init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://resnet101_v1c"),
        ),
        decode_head=dict(
            type="DeepLabV3PlusHead",
            in_channels=[256, 2048],
            channels=256,
            c1_channels=48,
            aspp_form="cac",
            aspp_dropout=0.0,
            decoder_dropout=0.0,
            dropout_ratio=0.0,
            num_classes=21,
            norm_cfg=norm_cfg,
            loss_decode=dict(type="PixelCrossEntropy"),
        ),
        test_cfg=dict(mode="whole"),
    ),
)
