# ADE20K (ade20k.py) with the weak augmentation of UniMatch. The crop is ours: V2's 518 is made of the
# patches of a vision transformer, this one has the form that fits output stride 16.
_base_ = "./ade20k.py"
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
