# DeepLabv3+ of the CPS paper (ResNet-50, output stride 16, multi-grid 2-4-8, plain ASPP).
# The reference stem is 64-64-128 wide; OpenMMLab's v1c weights fit 32-32-64, which is used here.
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
            depth=50,
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
            multi_grid=(2, 4, 8),
            norm_cfg=norm_cfg,
            init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://resnet50_v1c"),
        ),
        decode_head=dict(
            type="DeepLabV3PlusHead",
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
