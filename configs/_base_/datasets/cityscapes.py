# Cityscapes fine, 19 classes: 2,975 training images, val 500 images.
# Layout: data/cityscapes/{leftImg8bit,gtFine}/{train,val}/<city>/, masks as
# *_gtFine_labelTrainIds.png (tools/dataset_converters/cityscapes.py).
data_root = "data/cityscapes"
crop_size = (800, 800)

# The six scales of the released CPS code (there is no 1.25).
weak_pipeline = [
    dict(
        type="RandomChoice",
        transforms=[
            [dict(type="Resize", scale_factor=factor, keep_ratio=True)]
            for factor in (0.5, 0.75, 1.0, 1.5, 1.75, 2.0)
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
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=1, unlabeled=0)),
    dataset=dict(
        type="SemiDataset",
        split=dict(type="PublishedSplit", name="cps_city_1of8"),
        labeled=dict(
            type="CityscapesDataset",
            data_root=data_root,
            data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
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
        type="CityscapesDataset",
        data_root=data_root,
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
