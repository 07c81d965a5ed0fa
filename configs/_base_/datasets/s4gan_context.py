# PASCAL-Context, 60 classes (pascal_context.py), with s4GAN's blur of half of the training images, and its
# evaluation: short side 512, the 512 x 512 centre, image and mask alike. `test_pipeline` keeps the whole
# image at its own size.
_base_ = "./pascal_context.py"

weak_pipeline = [
    *_base_.weak_pipeline[:-1],
    # The radius is uniform in 0 to 1.
    dict(type="mmpretrain.GaussianBlur", magnitude_range=(0.0, 1.0), magnitude_std="inf", prob=0.5),
    dict(type="PackSemiInputs"),
]
sup_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), *weak_pipeline]
unsup_pipeline = [dict(type="LoadImageFromFile"), *weak_pipeline]
centre_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    # The short side; the long one has no limit of its own.
    dict(type="Resize", scale=(100000, 512), keep_ratio=True),
    dict(type="CenterCrop", crop_size=512),
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
val_dataloader = dict(dataset=dict(pipeline=centre_pipeline))
test_dataloader = val_dataloader
