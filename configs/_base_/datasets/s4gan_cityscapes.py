# Cityscapes (cityscapes.py) at half resolution, 512 x 1024, as s4GAN uses it: crop 256 x 512, flip, no
# other scale. Images and masks of the validation are halved too, as published; `test_pipeline` halves the
# image alone, so that predictions are scored, and returned for new images, at their own resolution
# (configs/s4gan/cityscapes_full-resolution.py).
_base_ = "./cityscapes.py"
crop_size = (256, 512)
halve = dict(type="Resize", scale=(1024, 512))

weak_pipeline = [
    halve,
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
sup_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), *weak_pipeline]
unsup_pipeline = [dict(type="LoadImageFromFile"), *weak_pipeline]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    halve,
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
half_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    halve,
    # Predictions are resized to `ori_shape`, which has to be the size of the masks.
    dict(
        type="KeyMapper", mapping=dict(img_shape="img_shape"), remapping=dict(img_shape="ori_shape")
    ),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=sup_pipeline),
        unlabeled=dict(pipeline=unsup_pipeline),
    ),
)
val_dataloader = dict(dataset=dict(pipeline=half_pipeline))
test_dataloader = val_dataloader
