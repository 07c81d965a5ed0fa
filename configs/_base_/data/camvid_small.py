# CamVid (camvid.py) at a size for a CPU: half resolution, crop 160, a quarter of the width, 500 iterations of 4
# labelled and 4 unlabelled images.
_base_ = "../models/deeplabv3plus_r18.py"
camvid = dict(type="CamVidDataset", data_root="data/camvid")
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(240, 180), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
# For CAC.
pair_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResize", scale=(240, 180), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="OverlappingCropPair"),
    dict(type="PackSemiInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(240, 180), keep_ratio=True),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    num_workers=1,
    sampler=dict(num_per_source=dict(labeled=4, unlabeled=4)),
    dataset=dict(
        crop_size=(160, 160),
        split=dict(type="RatioSplit", ratio=1 / 8, seed=0),
        labeled=dict(
            **camvid,
            data_prefix=dict(img_path="images/train", seg_map_path="labels/train"),
            pipeline=sup_pipeline,
        ),
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        **camvid,
        data_prefix=dict(img_path="images/val", seg_map_path="labels/val"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    segmentor=dict(
        backbone=dict(
            base_channels=16,
            stem_channels=16,
            strides=(1, 1, 2, 1),
            zero_init_residual=False,
            norm_cfg=norm_cfg,
        ),
        decode_head=dict(
            aspp_form="cac",
            aspp_dropout=0.0,
            decoder_dropout=0.0,
            dropout_ratio=0.0,
            in_channels=[16, 128],
            channels=32,
            c1_channels=16,
            dilations=(1, 2, 4, 6),
            norm_cfg=norm_cfg,
        ),
    ),
)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=0.006, weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(max_iters=500, num_validations=2)
