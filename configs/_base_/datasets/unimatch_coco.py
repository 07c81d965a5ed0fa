# COCO 2017 with 81 classes (coco81.py) and the weak augmentation of UniMatch V1.
_base_ = "./coco81.py"
crop_size = (513, 513)

weak_pipeline = [
    dict(type="RandomRelativeResize", ratio_range=(0.5, 2.0)),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
sup_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), *weak_pipeline]
unsup_pipeline = [dict(type="LoadImageFromFile"), *weak_pipeline]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=sup_pipeline),
        unlabeled=dict(pipeline=unsup_pipeline),
    ),
)
