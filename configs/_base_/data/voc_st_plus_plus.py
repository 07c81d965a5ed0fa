# PASCAL VOC 2012 train_aug (10,582 images, 1,449 val images) by the protocol of ST++: DeepLabv3+ R50 or R101, crop 321, the
# long side of an image 200 to 800 pixels; 16 images in all on 2 GPUs without SyncBN, here on one; whole image, single
# scale. Layout: voc_cps.py. The lists of 92 to 1,464 images are those of UniMatch, those of 1/16 to 1/4 those of CAC.
_base_ = "../models/deeplabv3plus_r50_cac.py"
voc = dict(type="PascalVOCDataset", data_root="data/VOCdevkit/VOC2012")
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    # Whole numbers, all equally likely.
    dict(type="RandomResize", scale=(801, 801), ratio_range=(200 / 801, 1.0), keep_ratio=True),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=16, unlabeled=0)),
    dataset=dict(
        crop_size=(321, 321),
        split=dict(type="PublishedSplit"),
        labeled=dict(
            **voc,
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
            ann_file="ImageSets/Segmentation/trainaug.txt",
            pipeline=sup_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        **voc,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
        ann_file="ImageSets/Segmentation/val.txt",
    )
)
test_dataloader = val_dataloader
model = dict(
    data_preprocessor=dict(test_cfg=None, test_padding="constant"), segmentor=_base_.wide
)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.001, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10))),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=80)
custom_hooks = [dict(type="ExactFloat32Hook")]
