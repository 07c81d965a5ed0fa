# CamVid, 11 classes, 255 = void, in plain folders:
#   data/camvid/images/{train,val}/*.jpg    data/camvid/labels/{train,val}/*.png
data_root = "data/camvid"
crop_size = (320, 320)
factors = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)

weak_pipeline = [
    dict(
        type="RandomChoice",
        transforms=[
            [dict(type="Resize", scale_factor=factor, keep_ratio=True)] for factor in factors
        ],
    ),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
sup_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), *weak_pipeline]
unsup_pipeline = [dict(type="LoadImageFromFile"), *weak_pipeline]
# Ground truth for a discriminator (source `gt`): the same, never padded.
gt_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomCoveringResize", ratios=factors, crop_size=crop_size),
    *weak_pipeline[1:],
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=8, unlabeled=0)),
    dataset=dict(
        type="SemiDataset",
        split=dict(type="RatioSplit", ratio=1 / 8, seed=0),
        labeled=dict(
            type="CamVidDataset",
            data_root=data_root,
            data_prefix=dict(img_path="images/train", seg_map_path="labels/train"),
            pipeline=sup_pipeline,
        ),
        unlabeled=dict(pool="rest", pipeline=unsup_pipeline),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CamVidDataset",
        data_root=data_root,
        data_prefix=dict(img_path="images/val", seg_map_path="labels/val"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
