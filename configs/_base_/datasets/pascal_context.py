# PASCAL-Context, 59 classes and background = 60 classes: 4,998 training images, val 5,105 images.
# Scale and crop are s4GAN's; unlike there, padding is 255 and not background.
# Layout: data/VOCdevkit/VOC2010/{JPEGImages, SegmentationClassContext, ImageSets/SegmentationContext},
# made by tools/dataset_converters/pascal_context.py. (The JSON of the Detail API, which mmseg's
# converter reads, has a few images less.)
data_root = "data/VOCdevkit/VOC2010"
crop_size = (321, 321)

weak_pipeline = [
    # The short side, drawn from 252 to 1010 pixels; the long side has no limit of its own.
    dict(type="RandomResize", scale=(100000, 505), ratio_range=(0.5, 2.0), keep_ratio=True),
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
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=8, unlabeled=0)),
    dataset=dict(
        type="SemiDataset",
        split=dict(type="RatioSplit", ratio=1 / 8, seed=0),
        labeled=dict(
            type="PascalContextDataset",
            data_root=data_root,
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
            ann_file="ImageSets/SegmentationContext/train.txt",
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
        type="PascalContextDataset",
        data_root=data_root,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
        ann_file="ImageSets/SegmentationContext/val.txt",
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
