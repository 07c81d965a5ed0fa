# DeepLabv3+ with ResNet-18 from random weights, output stride 16.
norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    type="Supervised",
    data_preprocessor=dict(
        type="SemiSegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    segmentor=dict(
        type="EncoderDecoder",
        backbone=dict(
            type="ResNetV1c",
            depth=18,
            num_stages=4,
            out_indices=(0, 1, 2, 3),
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
            norm_cfg=norm_cfg,
            norm_eval=False,
            style="pytorch",
        ),
        decode_head=dict(
            type="DeepLabV3PlusHead",
            in_channels=[64, 512],
            in_index=[0, 3],
            channels=128,
            c1_channels=48,
            num_classes=11,
            norm_cfg=norm_cfg,
            align_corners=True,
            loss_decode=dict(type="PixelCrossEntropy"),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    ),
)
