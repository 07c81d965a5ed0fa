# CamVid (11 classes, 323 training images, 101 val images) at 240x180, settings ours: EfficientNet-Lite0 from ImageNet
# weights, crop 128, 4 labelled and 4 unlabelled images; last checkpoint. Labels and hold-out: runs/choose_labels.py.
# Layout: data/camvid/{images/{train,val}/*.jpg,labels/{train,val}/*.png}.
_base_ = "../models/deeplabv3plus_efficientnet_lite0.py"
camvid = dict(type="CamVidDataset")
train = dict(img_path="data/camvid/images/train", seg_map_path="data/camvid/labels/train")
val = dict(img_path="data/camvid/images/val", seg_map_path="data/camvid/labels/val")
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(240, 180), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(240, 180), keep_ratio=True),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
# For CAC.
pair_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResize", scale=(240, 180), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="OverlappingCropPair"),
    dict(type="PackSemiInputs"),
]
gt = dict(pool="labeled", pipeline=sup_pipeline)
train_dataloader = dict(
    num_workers=1,
    sampler=dict(num_per_source=dict(labeled=4, unlabeled=4)),
    dataset=dict(
        crop_size=(128, 128),
        split=dict(
            type="ListSplit",
            labeled="splits/camvid/labels_6.txt",
            labeled_sha256="fe60474bb70d504e44faadfa8f130753a53fc892f4daa0da899cd23e6509e7dd",
            unlabeled="splits/camvid/pool.txt",
            allow_overlap=True,
        ),
        labeled=dict(**camvid, data_prefix=train, pipeline=sup_pipeline),
    ),
)
val_dataloader = dict(
    num_workers=1, dataset=dict(**camvid, data_prefix=val, pipeline=test_pipeline)
)
test_dataloader = val_dataloader
# Four labelled images are too few for batch-norm statistics (docs/batch_norm.md).
model = dict(backbone_norm_eval=True, segmentor=dict(decode_head=dict(num_classes=11)))
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.3))
    ),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(max_iters=600, num_validations=2)
