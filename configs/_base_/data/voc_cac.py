# PASCAL VOC 2012 train_aug (10,582 images, 1,449 val images) by the protocol of CAC: DeepLabv3+ R50 or R101 or PSPNet
# R50, crop 320, each image resized to a long side of 200 to 800 pixels (320 to 800 for the pairs of unlabelled crops);
# 4 labelled and 4 unlabelled images on each of 2 GPUs (8 + 8 in total, SyncBN), 80 passes over the 9,259 unlabelled
# images of 1/8 whatever the labels; whole image, single scale, best checkpoint. Layout: voc_cps.py.
# Numbers are means over three lists, cac_voc_*_d0 to _d2. Import a list once, from dataloaders/voc_splits{0,1,2} of
# dvlab-research/Context-Aware-Consistency; the error of a run without it names the command.
_base_ = "../models/deeplabv3plus_r50_cac.py"
voc = dict(type="PascalVOCDataset", data_root="data/VOCdevkit/VOC2012")
pillow = dict(keep_ratio=True, backend="pillow", interpolation="bicubic")
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    # Whole numbers, all equally likely.
    dict(type="RandomResize", scale=(801, 801), ratio_range=(200 / 801, 1.0), **pillow),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
pair_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResize", scale=(801, 801), ratio_range=(320 / 801, 1.0), **pillow),
    dict(type="OverlappingCropPair", stride=8, iou_range=(0.1, 1.0)),
    dict(type="PackSemiInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=4, unlabeled=4)),
    dataset=dict(
        crop_size=(320, 320),
        split=dict(type="PublishedSplit"),
        labeled=dict(
            **voc,
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
            ann_file="ImageSets/Segmentation/trainaug.txt",
            pipeline=sup_pipeline,
        ),
        unlabeled=dict(pipeline=pair_pipeline),
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
# Weight decay on everything, norms and biases included.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(max_iters=92560, num_validations=80)
auto_scale_lr = dict(enable=False, base_labeled=8)
