# PASCAL VOC 2012 train_aug (voc_aug.py) with the weak augmentation and the crop of UniMatch V1: each
# image is resized by a factor of its own size, drawn from 0.5 to 2.
_base_ = "./voc_aug.py"
crop_size = (321, 321)

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
