# COCO 2017, 81 classes (118,287 training images, 5,000 val images) by the protocol of UniMatch V2: DPT on DINOv2-S, crop
# 518, each image resized by a factor of its own, 4 labelled and 4 unlabelled images on each of 4 GPUs (16 + 16 in
# total), 20 passes over the unlabelled ones; whole image, single scale, best checkpoint. Layout, masks and labelled
# lists: coco_unimatch.py.
_base_ = "../models/dpt_dino.py"
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
    sampler=dict(num_per_source=dict(labeled=4, unlabeled=4)),
    dataset=dict(
        crop_size=(518, 518),
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
# Weight decay on everything, norms, biases and positions included; the head learns 40 times as fast.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-4, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.025))),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=20)
auto_scale_lr = dict(enable=False, base_labeled=16)
