# ADE20K (SceneParse150), 150 classes: 20,210 training images, validation 2,000 images. In the masks 0 is
# "other" and is ignored; ADE20KDataset moves the classes 1..150 to 0..149 (reduce_zero_label).
# Layout: data/ade/ADEChallengeData2016/{images,annotations}/{training,validation}; nothing to convert,
# tools/dataset_converters/ade20k.py checks it. The crop is UniMatch V2's (37 patches of 14 pixels).
data_root = "data/ade/ADEChallengeData2016"
crop_size = (518, 518)

weak_pipeline = [
    dict(
        type="RandomChoice",
        transforms=[
            [dict(type="Resize", scale_factor=factor, keep_ratio=True)]
            for factor in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
        ],
    ),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
sup_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), *weak_pipeline]
unsup_pipeline = [dict(type="LoadImageFromFile"), *weak_pipeline]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=0)),
    dataset=dict(
        type="SemiDataset",
        split=dict(type="RatioSplit", ratio=1 / 8, seed=0),
        labeled=dict(
            type="ADE20KDataset",
            data_root=data_root,
            data_prefix=dict(img_path="images/training", seg_map_path="annotations/training"),
            pipeline=sup_pipeline,
        ),
        unlabeled=dict(pool="rest", pipeline=unsup_pipeline),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="ADE20KDataset",
        data_root=data_root,
        data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
