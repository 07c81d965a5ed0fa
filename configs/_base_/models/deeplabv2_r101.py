# DeepLabv2 with ResNet-101 (output stride 8), the net of AdvSemiSeg and s4GAN, from torchvision's ImageNet
# weights, as s4GAN starts. These were trained on RGB divided by the standard deviation, with the stride in
# the 3x3 convolution, so both are set here. Published s4GAN keeps the stride in the 1x1 (style="caffe") and does
# not divide (`rgb_minus_mean` below: an input 58 times as large, which only works because the norms use the
# batch's statistics).
#
# - Norms: scale and shift stay as loaded, the statistics are those of the batch and are updated
#   (norm_eval=False), as published. Frozen statistics break the net where mean and std do not fit.
# - zero_init_residual would set a scale that is never trained to 0, if weights start at random.
# - The head learns 10 times as fast.
# - The max-pool rounds up, as published: 33 x 65 for 256 x 512, where mmseg's ResNet has 32 x 64. At odd sizes
#   (321, 505) both have one grid (41, 64).
_base_ = "../default_runtime.py"
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
            type="CeilPoolResNet",
            depth=101,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            norm_cfg=dict(type="BN", requires_grad=False),
            norm_eval=False,
            style="pytorch",
            zero_init_residual=False,
            init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet101"),
        ),
        decode_head=dict(
            type="DeepLabV2Head",
            in_channels=2048,
            num_classes=21,
            loss_decode=dict(type="PixelCrossEntropy"),
        ),
        test_cfg=dict(mode="whole"),
    ),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10))))

# What changes with the Caffe weights trained on MS-COCO that AdvSemiSeg starts from ("resnet101COCO" of its
# code): BGR, 0-255, minus the mean, no division. With 21 classes the head's weights fit, too.
#   python tools/checkpoint_converters/deeplabv2_coco.py DOWNLOAD.pth checkpoints/deeplabv2_r101_coco.pth
coco_input = dict(
    mean=[104.00698793, 116.66876762, 122.67891434], std=[1.0, 1.0, 1.0], bgr_to_rgb=False
)
coco_file = dict(type="Pretrained", checkpoint="checkpoints/deeplabv2_r101_coco.pth")
coco_backbone = dict(style="caffe", init_cfg=dict(**coco_file, prefix="backbone."))
coco = dict(
    backbone=coco_backbone, decode_head=dict(init_cfg=dict(**coco_file, prefix="decode_head."))
)
# What the released codes feed: RGB, minus the mean.
rgb_minus_mean = dict(
    mean=[122.67891434, 116.66876762, 104.00698793], std=[1.0, 1.0, 1.0], bgr_to_rgb=True
)

# About the learning rates that the released codes of AdvSemiSeg and s4GAN have in effect: they list the
# backbone's weights several times in one group, and old SGD stepped them as often, so the backbone learns
# 3 times as fast as intended, its shortcuts 4 times, its stem once.
legacy_lr = dict(
    custom_keys={
        "backbone": dict(lr_mult=3),
        "downsample": dict(lr_mult=4),  # the shortcuts
        "backbone.conv1": dict(lr_mult=1),
    }
)

# DST-CBC and DMT: those weights, with norms that are trained, two branches in use, and the stride in the 3x3
# convolution, which is not where the weights had it; one rate for all.
trained_norms = dict(
    backbone=dict(
        type="ResNet",
        contract_dilation=True,
        norm_cfg=dict(requires_grad=True),
        init_cfg=dict(**coco_file, prefix="backbone."),
    ),
    decode_head=dict(num_active_branches=2, init_cfg=dict(**coco_file, prefix="decode_head.")),
)
one_rate = dict(custom_keys=dict(decode_head=dict(lr_mult=1)))
# The second model of DMT, from ImageNet weights: `second` of self_training.
imagenet = {
    "model.data_preprocessor.mean": [123.675, 116.28, 103.53],
    "model.data_preprocessor.std": [58.395, 57.12, 57.375],
    "model.data_preprocessor.bgr_to_rgb": True,
    "model.segmentor.backbone.init_cfg.checkpoint": "torchvision://resnet101",
    "model.segmentor.backbone.init_cfg.prefix": None,
    "model.segmentor.decode_head.init_cfg": None,
}
from_imagenet = dict(options=imagenet)
