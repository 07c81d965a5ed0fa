# Cityscapes fine (cityscapes.py) with the weak augmentation and the crop of UniMatch V1, 2 labelled
# images on each GPU.
_base_ = "./cityscapes.py"
crop_size = (801, 801)

weak_pipeline = [
    dict(type="RandomRelativeResize", ratio_range=(0.5, 2.0)),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
sup_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), *weak_pipeline]
unsup_pipeline = [dict(type="LoadImageFromFile"), *weak_pipeline]
train_dataloader = dict(
    batch_size=2,
    sampler=dict(num_per_source=dict(labeled=2)),
    dataset=dict(
        labeled=dict(pipeline=sup_pipeline),
        unlabeled=dict(pipeline=unsup_pipeline),
    ),
)
