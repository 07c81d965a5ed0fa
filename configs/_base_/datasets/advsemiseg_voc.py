# PASCAL VOC 2012 train_aug (voc_aug.py) with the augmentation of AdvSemiSeg, which s4GAN shares: one of
# 12 scales, crop 321, flip. The released code has scale and flip behind flags that its README does not
# give; the paper describes random scales. Here both are on.
_base_ = "./voc_aug.py"
crop_size = (321, 321)
factors = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6)

weak_pipeline = [
    dict(
        type="RandomChoice",
        transforms=[
            [dict(type="Resize", scale_factor=factor, keep_ratio=True)] for factor in factors
        ],
    ),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
sup_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), *weak_pipeline]
unsup_pipeline = [dict(type="LoadImageFromFile"), *weak_pipeline]
# Ground truth for a discriminator (source `gt`): the same, never padded.
gt_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomCoveringResize", ratios=factors, crop_size=crop_size),
    *weak_pipeline[1:],
]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=sup_pipeline),
        unlabeled=dict(pipeline=unsup_pipeline),
    ),
)
