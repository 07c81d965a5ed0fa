# PASCAL VOC 2012 train_aug (10,582 images, 1,449 val images) by the protocol of AugSeg: DeepLabv3+ R101 with
# multi-grid 2-4-8, crop 513, each image resized to a long side of 250 to 1,000 pixels; 8 labelled and 8 unlabelled
# images on each of 2 GPUs (16 + 16 in total, SyncBN), 80 passes over the unlabelled ones; whole image, single scale,
# best checkpoint of the teacher. Layout: voc_cps.py.
_base_ = "../models/deeplabv3plus_r101.py"
voc = dict(type="PascalVOCDataset", data_root="data/VOCdevkit/VOC2012")
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    # A whole number from 250 to 1,000, all equally likely.
    dict(type="RandomResize", scale=(1001, 1001), ratio_range=(250 / 1001, 1.0), keep_ratio=True),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=8, unlabeled=8)),
    dataset=dict(
        crop_size=(513, 513),
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
# The max-pool rounds up, as released.
backbone = dict(type="CeilPoolResNet", deep_stem=True, multi_grid=(2, 4, 8))
model = dict(segmentor=dict(backbone=backbone))
# Weight decay on everything, norms and biases included.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=80)
auto_scale_lr = dict(enable=False, base_labeled=16)
