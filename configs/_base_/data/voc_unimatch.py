# PASCAL VOC 2012 train_aug (10,582 images, 1,449 val images) by the protocol of UniMatch V1, which FixMatch
# shares: DeepLabv3+ R101, crop 321, each image resized by a factor of its own, 0.5 to 2; 2 labelled and 2
# unlabelled images on each of 4 GPUs (8 + 8 in total, SyncBN), 80 passes over the unlabelled ones; whole
# image, single scale, best checkpoint. Layout: voc_cps.py.
_base_ = "../models/deeplabv3plus_r101.py"
voc = dict(type="PascalVOCDataset", data_root="data/VOCdevkit/VOC2012")
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomRelativeResize", ratio_range=(0.5, 2.0)),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=2, unlabeled=2)),
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
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        ann_file="ImageSets/Segmentation/val.txt",
    )
)
test_dataloader = val_dataloader
# Weight decay on everything, norms and biases included.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=80)
auto_scale_lr = dict(enable=False, base_labeled=8)
