# PASCAL VOC 2012 train_aug (10,582 images, 1,449 val images) by the protocol of U2PL: its DeepLabv3+ R101 of output stride
# 8, crop 513, each image resized by a factor of 0.5 to 1 or of 1 to 2, both as likely; 4 labelled and 4 unlabelled images on
# each of 4 GPUs (16 + 16 in total, SyncBN), 80 passes over the unlabelled ones; whole image (published: a centre crop of 513
# whose padding counts as background), single scale, best checkpoint. Layout: voc_cps.py.
_base_ = "../models/deeplabv3plus_r101.py"
voc = dict(type="PascalVOCDataset", data_root="data/VOCdevkit/VOC2012")
ranges = ((0.5, 1.0), (1.0, 2.0))
halves = [[dict(type="RandomRelativeResize", ratio_range=ratios)] for ratios in ranges]
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomChoice", transforms=halves),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=4, unlabeled=4)),
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
backbone = dict(
    type="CeilPoolResNet",
    deep_stem=True,
    strides=(1, 2, 1, 1),
    dilations=(1, 1, 2, 4),
    multi_grid=(4, 8, 16),
)
head = dict(
    _delete_=True,
    type="U2PLHead",
    num_classes=21,
    norm_cfg=dict(type="SyncBN", requires_grad=True),
    loss_decode=dict(type="PixelCrossEntropy"),
)
model = dict(segmentor=dict(backbone=backbone, decode_head=head))
# Weight decay on everything, norms and biases included.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=80)
auto_scale_lr = dict(enable=False, base_labeled=16)
