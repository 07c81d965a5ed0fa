# PASCAL VOC 2012 train_aug (10,582 images, 1,449 val images) by the protocol of UniMatch V2: DPT on DINOv2-S, crop
# 518, each image resized by a factor of its own, 0.5 to 2; 4 labelled and 4 unlabelled images on each of 4 GPUs (16 +
# 16 in total), 60 passes over the unlabelled ones; whole image, single scale, best checkpoint. Layout: voc_cps.py.
_base_ = "../models/dpt_dino.py"
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
    sampler=dict(num_per_source=dict(labeled=4, unlabeled=4)),
    dataset=dict(
        crop_size=(518, 518),
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
# Weight decay on everything, norms, biases and positions included; the head learns 40 times as fast.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-4, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.025))),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=60)
auto_scale_lr = dict(enable=False, base_labeled=16)
