# PASCAL VOC 2012 train_aug (voc_aug.py) as MLMT sees it: whole images at 320x320, aspect lost, flipped.
# Labels are the classes in the full mask, so they are read off before the resize.
_base_ = "./voc_aug.py"
crop_size = (320, 320)

weak_pipeline = [
    dict(type="Resize", scale=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="AddImageLabels"),
    *weak_pipeline,
]
unsup_pipeline = [dict(type="LoadImageFromFile"), *weak_pipeline]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=crop_size),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=96,
    num_workers=8,
    sampler=dict(num_per_source=dict(labeled=16, unlabeled=80)),
    dataset=dict(labeled=dict(pipeline=sup_pipeline), unlabeled=dict(pipeline=unsup_pipeline)),
)
val_dataloader = dict(batch_size=32, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type="ImageLevelMetric")
test_evaluator = val_evaluator
