# Cityscapes fine (2,975 training images, 500 val images) by the protocol of ST++, which is that of voc_st_plus_plus.py with
# crop 721, the long side of an image 1,024 to 4,096 pixels and four times the rate; R50. Layout: cityscapes_cps.py.
_base_ = "../models/deeplabv3plus_r50_cac.py"
cityscapes = dict(type="CityscapesDataset", data_root="data/cityscapes")
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(4097, 4097), ratio_range=(1024 / 4097, 1.0), keep_ratio=True),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=16, unlabeled=0)),
    dataset=dict(
        crop_size=(721, 721),
        split=dict(type="PublishedSplit"),
        labeled=dict(
            **cityscapes,
            data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
            pipeline=sup_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        **cityscapes, data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val")
    )
)
test_dataloader = val_dataloader
head = dict(dilations=(1, 12, 24, 36), norm_cfg=_base_.plain_norm_cfg, num_classes=19)
model = dict(
    data_preprocessor=dict(test_cfg=None, test_padding="constant"),
    segmentor=dict(_base_.wide, decode_head=head),
)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.004, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10))),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=240)
custom_hooks = [dict(type="ExactFloat32Hook")]
