# DeepLabv3+ with ResNet-18 from random weights, output stride 16.
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
            depth=18,
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
            norm_cfg=norm_cfg,
        ),
        decode_head=dict(
            type="DeepLabV3PlusHead",
            in_channels=[64, 512],
            channels=128,
            c1_channels=48,
            num_classes=11,
            norm_cfg=norm_cfg,
            loss_decode=dict(type="PixelCrossEntropy"),
        ),
        test_cfg=dict(mode="whole"),
    ),
)
