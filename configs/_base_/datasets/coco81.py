# COCO 2017, 80 object classes and background = 81 classes, as in PseudoSeg and UniMatch: 118,287
# training images, val 5,000 images. The crop is UniMatch's (V2: 518).
# Layout: data/coco/{train2017, val2017, masks}, masks of both parts in one folder, made by
# tools/dataset_converters/coco.py or those that UniMatch's authors offer.
data_root = "data/coco"
crop_size = (513, 513)

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
            type="COCO81Dataset",
            data_root=data_root,
            data_prefix=dict(img_path="train2017", seg_map_path="masks"),
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
        type="COCO81Dataset",
        data_root=data_root,
        data_prefix=dict(img_path="val2017", seg_map_path="masks"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
