# CamVid (11 classes, 255 = void, 367 training images of which 45 are labelled, 101 val images), settings ours:
# DeepLabv3+ R18 from random weights, crop 320, one GPU with 8 labelled and 8 unlabelled images; last checkpoint.
# Layout: data/camvid/images/{train,val}/*.jpg, data/camvid/labels/{train,val}/*.png.
_base_ = "../models/deeplabv3plus_r18.py"
camvid = dict(type="CamVidDataset", data_root="data/camvid")
factors = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
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
    sampler=dict(num_per_source=dict(labeled=8, unlabeled=8)),
    dataset=dict(
        crop_size=(320, 320),
        split=dict(type="RatioSplit", ratio=1 / 8, seed=0),
        labeled=dict(
            **camvid,
            data_prefix=dict(img_path="images/train", seg_map_path="labels/train"),
            pipeline=sup_pipeline,
        ),
    ),
)
val_dataloader = dict(
    num_workers=2,
    dataset=dict(**camvid, data_prefix=dict(img_path="images/val", seg_map_path="labels/val")),
)
test_dataloader = val_dataloader
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(max_iters=4000)
