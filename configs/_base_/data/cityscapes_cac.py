# Cityscapes fine (2,975 training images, 500 val images) by the protocol of CAC: DeepLabv3+ R50, crop 720, each image
# resized to a long side of 1,024 to 4,096 pixels (1,638 to 4,096 for the pairs of unlabelled crops), labelled images with
# changed colours, no OHEM; 2 labelled and 2 unlabelled images on each of 4 GPUs (8 + 8 in total, SyncBN), as many
# iterations as on VOC; whole image, single scale, best checkpoint. Lists: voc_cac.py, dataloaders/city_splits{0,1,2}.
# Layout: cityscapes_cps.py.
_base_ = "../models/deeplabv3plus_r50_cac.py"
cityscapes = dict(type="CityscapesDataset", data_root="data/cityscapes")
pillow = dict(keep_ratio=True, backend="pillow", interpolation="bicubic")
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(4097, 4097), ratio_range=(1024 / 4097, 1.0), **pillow),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    dict(type="PackSemiInputs"),
]
pair_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResize", scale=(4097, 4097), ratio_range=(1638 / 4097, 1.0), **pillow),
    dict(type="OverlappingCropPair", stride=8, iou_range=(0.1, 1.0)),
    dict(type="PackSemiInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=2, unlabeled=2)),
    dataset=dict(
        crop_size=(720, 720),
        split=dict(type="PublishedSplit"),
        labeled=dict(
            **cityscapes,
            data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
            pipeline=sup_pipeline,
        ),
        unlabeled=dict(pipeline=pair_pipeline),
    ),
)
val_dataloader = dict(
    dataset=dict(
        **cityscapes, data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val")
    )
)
test_dataloader = val_dataloader
model = dict(segmentor=dict(decode_head=dict(num_classes=19)))
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(max_iters=92560, num_validations=80)
auto_scale_lr = dict(enable=False, base_labeled=8)
