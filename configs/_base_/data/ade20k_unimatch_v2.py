# ADE20K (SceneParse150, 150 classes, 20,210 training images, 2,000 val images) by the protocol of UniMatch V2: DPT on
# DINOv2-S, crop 518, each image resized by a factor of its own, 2 labelled and 2 unlabelled images on each of 4 GPUs
# (8 + 8 in total), 60 passes over the unlabelled ones; whole image, single scale, best checkpoint. The encoder is
# trained, as in the published runs. Layout, masks and splits: ade20k_unimatch.py.
_base_ = "../models/dpt_dino.py"
ade = dict(type="ADE20KDataset", data_root="data/ade/ADEChallengeData2016")
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
        crop_size=(518, 518),
        split=dict(type="PublishedSplit"),
        labeled=dict(
            **ade,
            data_prefix=dict(img_path="images/training", seg_map_path="annotations/training"),
            pipeline=sup_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        **ade,
        data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
    )
)
test_dataloader = val_dataloader
model = dict(segmentor=dict(decode_head=dict(num_classes=150)))
# Weight decay on everything, norms, biases and positions included; the head learns 40 times as fast.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-4, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.025))),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=60)
auto_scale_lr = dict(enable=False, base_labeled=8)
