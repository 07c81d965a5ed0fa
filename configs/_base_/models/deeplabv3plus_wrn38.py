# DeepLabv3+ with Wide ResNet-38 (output stride 8, logits at stride 2), s4GAN's large Cityscapes net:
# 137.10 million parameters. All norms are trained.
# The trunk starts from ImageNet weights that are not in any model zoo that mmengine knows; with such a
# file:  python tools/checkpoint_converters/wider_resnet38.py DOWNLOAD.pth checkpoints/wider_resnet38.pth
# The rest learns 10 times as fast: paramwise_cfg=dict(custom_keys={"decode_head": dict(lr_mult=10)}).
# The published input is BGR minus (73.158, 82.909, 72.392), divided by 255; here it is what the
# ImageNet weights were trained with.
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
            type="WiderResNet38",
            norm_cfg=norm_cfg,
            init_cfg=dict(
                type="Pretrained", checkpoint="checkpoints/wider_resnet38.pth", prefix="backbone."
            ),
        ),
        decode_head=dict(
            type="DeepLabV3PlusWRNHead",
            in_channels=[128, 4096],
            in_index=[0, 1],
            channels=256,
            c1_channels=48,
            num_classes=19,
            norm_cfg=norm_cfg,
            align_corners=True,
            loss_decode=dict(type="PixelCrossEntropy"),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    ),
)
