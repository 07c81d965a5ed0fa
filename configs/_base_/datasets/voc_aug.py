# PASCAL VOC 2012, train_aug (10,582 images: VOC train + SBD), val 1,449 images.
# Layout: data/VOCdevkit/VOC2012/{JPEGImages, SegmentationClassAug, ImageSets/Segmentation}.
# SegmentationClassAug must hold the merged masks of all 12,031 images, trainaug.txt the 10,582 ids in
# any order; tools/dataset_converters/voc_aug.py makes both.
data_root = "data/VOCdevkit/VOC2012"
crop_size = (512, 512)

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
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=0)),
    dataset=dict(
        type="SemiDataset",
        split=dict(type="PublishedSplit", name="cps_voc_1of8"),
        labeled=dict(
            type="PascalVOCDataset",
            data_root=data_root,
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
            ann_file="ImageSets/Segmentation/trainaug.txt",
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
        type="PascalVOCDataset",
        data_root=data_root,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        ann_file="ImageSets/Segmentation/val.txt",
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
