# Cityscapes at half resolution (s4gan_cityscapes.py), whole images of 512 x 1024, as in the AdvSemiSeg
# paper: no random crop, no random scale. The flip is ours. The paper does not say at which resolution it
# scores; here it is 512 x 1024, or the full one with configs/advsemiseg/cityscapes_full-resolution.py.
_base_ = "./s4gan_cityscapes.py"
crop_size = (512, 1024)

weak_pipeline = [
    _base_.halve,
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
