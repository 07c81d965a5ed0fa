# DeepLabv2 with ResNet-101 (output stride 8), the net of AdvSemiSeg and s4GAN, from the Caffe weights
# trained on MS-COCO that AdvSemiSeg starts from.
#   python tools/checkpoint_converters/deeplabv2_coco.py DOWNLOAD.pth checkpoints/deeplabv2_r101_coco.pth
# takes the file that AdvSemiSeg's code loads ("resnet101COCO") to where this config looks. With 21
# classes the published runs also take the head: model.segmentor.decode_head.init_cfg=dict(
# type="Pretrained", checkpoint="checkpoints/deeplabv2_r101_coco.pth", prefix="decode_head.").
# Without that file: deeplabv2_r101_imagenet.py.
#
# - Caffe weights want BGR, 0-255, minus the mean, no division.
# - Norms: scale and shift stay as loaded, the statistics are those of the batch and are updated
#   (norm_eval=False), as published. Frozen statistics break the net where mean and std do not fit.
# - zero_init_residual would set a scale that is never trained to 0, if weights start at random.
# - The head learns 10 times as fast: paramwise_cfg=dict(custom_keys={"decode_head": dict(lr_mult=10)}).
# - Crops of odd size (321, 505) have the published grids (41, 64). The published net rounds up in its
#   max-pool, mmseg's down: at even sizes the grid is one row and column smaller (512: 64, not 65).
norm_cfg = dict(type="BN", requires_grad=False)
model = dict(
    type="Supervised",
    data_preprocessor=dict(
        type="SemiSegDataPreProcessor",
        mean=[104.00698793, 116.66876762, 122.67891434],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
        pad_val=0,
        seg_pad_val=255,
    ),
    segmentor=dict(
        type="EncoderDecoder",
        backbone=dict(
            type="ResNet",
            depth=101,
            num_stages=4,
            out_indices=(0, 1, 2, 3),
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            contract_dilation=False,
            norm_cfg=norm_cfg,
            norm_eval=False,
            style="caffe",
            zero_init_residual=False,
            init_cfg=dict(
                type="Pretrained",
                checkpoint="checkpoints/deeplabv2_r101_coco.pth",
                prefix="backbone.",
            ),
        ),
        decode_head=dict(
            type="DeepLabV2Head",
            in_channels=2048,
            in_index=3,
            num_classes=21,
            align_corners=True,
            loss_decode=dict(type="PixelCrossEntropy"),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    ),
)
