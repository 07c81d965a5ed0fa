# PASCAL VOC 2012 train_aug (10,582 images: VOC train + SBD; 1,449 val images) by the protocol of CPS, which
# mean teacher and CutMix mean teacher share: DeepLabv3+ R50, crop 512, 2 labelled images on each of 4 GPUs
# (8 in total, SyncBN) and as many unlabelled ones; whole image, single scale, best checkpoint.
# Learning rate and weight decay are what the released code uses in effect: it divides gradients by the
# number of GPUs twice.
# Layout: data/VOCdevkit/VOC2012/{JPEGImages, SegmentationClassAug, ImageSets/Segmentation}.
# SegmentationClassAug must hold the merged masks of all 12,031 images, trainaug.txt the 10,582 ids in any
# order; tools/dataset_converters/voc_aug.py makes both.
_base_ = "../models/deeplabv3plus_r50.py"
voc = dict(type="PascalVOCDataset", data_root="data/VOCdevkit/VOC2012")
# The six scales of the released code (there is no 1.25).
scales = [
    [dict(type="Resize", scale_factor=factor, keep_ratio=True)]
    for factor in (0.5, 0.75, 1.0, 1.5, 1.75, 2.0)
]
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomChoice", transforms=scales),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=2, unlabeled=2)),
    dataset=dict(
        crop_size=(512, 512),
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
model = dict(data_preprocessor=dict(test_cfg=dict(size=(512, 512))))
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.0025, momentum=0.9, weight_decay=4e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
auto_scale_lr = dict(enable=False, base_labeled=8)
