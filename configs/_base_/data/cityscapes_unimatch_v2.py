# Cityscapes fine (2,975 training images, 500 val images) by the protocol of UniMatch V2: DPT on DINOv2-S, crop 798, each
# image resized by a factor of its own, OHEM, 2 labelled and 2 unlabelled images on each of 4 GPUs (8 + 8 in total),
# 180 passes over the unlabelled ones; sliding window 798 / 532 whose probabilities are averaged, single scale, best
# checkpoint. Layout and labelled lists: cityscapes_cps.py.
_base_ = "../models/dpt_dino.py"
cityscapes = dict(type="CityscapesDataset", data_root="data/cityscapes")
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
        crop_size=(798, 798),
        split=dict(type="PublishedSplit"),
        labeled=dict(
            **cityscapes,
            data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
            pipeline=sup_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        **cityscapes, data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val")
    )
)
test_dataloader = val_dataloader
model = dict(
    segmentor=dict(
        decode_head=dict(
            num_classes=19,
            # For the labelled batch of one GPU, 2 images as published: in proportion for another number.
            loss_decode=dict(
                _delete_=True, type="ProbOhemCrossEntropy", thresh=0.7, min_kept=200000
            ),
        ),
        test_cfg=dict(mode="slide", crop_size=(798, 798), stride=(532, 532)),
    ),
)
# Weight decay on everything, norms, biases and positions included; the head learns 40 times as fast.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-4, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.025))),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=180)
auto_scale_lr = dict(enable=False, base_labeled=8)
