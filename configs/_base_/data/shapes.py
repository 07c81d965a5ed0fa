# The built-in set, generated on first use (7 classes, 256 training images of 96-160 px of which 32 are labelled,
# 100 val images), and a narrow DeepLabv3+ for the CPU from random weights; crop 80, 8 labelled and 8 unlabelled
# images, 1,200 iterations; last checkpoint.
_base_ = "../default_runtime.py"
shapes = dict(type="ShapesDataset", data_root="data/shapes")
factors = (0.75, 1.0, 1.25)
scales = [[dict(type="Resize", scale_factor=factor, keep_ratio=True)] for factor in factors]
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomChoice", transforms=scales),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
# For CAC.
pair_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomChoice", transforms=scales),
    dict(type="OverlappingCropPair"),
    dict(type="PackSemiInputs"),
]
# Ground truth for a discriminator: as released for s4GAN; never padded for AdvSemiSeg.
gt = dict(pool="labeled", pipeline=sup_pipeline)
covering = dict(type="RandomCoveringResize", ratios=factors)
covering_gt = dict(pool="labeled", pipeline=[*sup_pipeline[:2], covering, *sup_pipeline[3:]])
train_dataloader = dict(
    num_workers=2,
    sampler=dict(num_per_source=dict(labeled=8, unlabeled=8)),
    dataset=dict(
        crop_size=(80, 80),
        split=dict(type="RatioSplit", ratio=1 / 8, seed=0),
        labeled=dict(**shapes, ann_file="ImageSets/Segmentation/train.txt", pipeline=sup_pipeline),
    ),
)
val_dataloader = dict(
    num_workers=2, dataset=dict(**shapes, ann_file="ImageSets/Segmentation/val.txt")
)
test_dataloader = val_dataloader
norm_cfg = dict(type="BN", requires_grad=True)
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
        # Three stages, output stride 8: textures of a few pixels do not survive 16.
        backbone=dict(
            type="ResNetV1c",
            depth=18,
            base_channels=16,
            stem_channels=16,
            num_stages=3,
            out_indices=(0, 1, 2),
            strides=(1, 1, 2),
            dilations=(1, 1, 1),
            zero_init_residual=False,
            norm_cfg=norm_cfg,
        ),
        decode_head=dict(
            type="DeepLabV3PlusHead",
            aspp_form="cac",
            aspp_dropout=0.0,
            decoder_dropout=0.0,
            dropout_ratio=0.0,
            in_channels=[16, 64],
            in_index=[0, 2],
            channels=32,
            c1_channels=16,
            dilations=(1, 2, 4, 6),
            num_classes=7,
            norm_cfg=norm_cfg,
            loss_decode=dict(type="PixelCrossEntropy"),
        ),
        test_cfg=dict(mode="whole"),
    ),
)
# The classes differ in textures of a few pixels, which a blur would wipe out.
strong = dict(type="StrongPhotometric", p_blur=0.0)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=0.006, weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(max_iters=1200, num_validations=5)
