# COCO 2017, 80 object classes and background = 81 classes as in PseudoSeg (118,287 training images, 5,000 val
# images), by the protocol of UniMatch V1, which FixMatch shares: crop 513, each image resized by a factor of
# its own, 2 labelled and 2 unlabelled images on each of 4 GPUs (8 + 8 in total, SyncBN), 30 passes over the
# unlabelled ones; whole image, single scale, best checkpoint. The net is DeepLabv3+ R101 where the published one
# is Xception-65, which mmseg does not have: numbers are not comparable.
# Layout: data/coco/{train2017, val2017, masks}, masks of both parts in one folder, made by
# tools/dataset_converters/coco.py or those that UniMatch's authors offer.
# The labelled lists are not shipped: splits/coco/1_512/labeled.txt of LiheYoung/UniMatch and so on; import
# each once, its ids are checked by hash:
#   python tools/splits.py import --protocol unimatch_coco_1of512 --file-labeled labeled.txt
_base_ = "../models/deeplabv3plus_r101.py"
coco = dict(type="COCO81Dataset", data_root="data/coco")
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
        crop_size=(513, 513),
        split=dict(type="PublishedSplit"),
        labeled=dict(
            **coco,
            data_prefix=dict(img_path="train2017", seg_map_path="masks"),
            pipeline=sup_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(**coco, data_prefix=dict(img_path="val2017", seg_map_path="masks"))
)
test_dataloader = val_dataloader
model = dict(segmentor=dict(decode_head=dict(num_classes=81)))
# Weight decay on everything, norms and biases included.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.04, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=30)
auto_scale_lr = dict(enable=False, base_labeled=8)
