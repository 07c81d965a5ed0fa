# ADE20K (SceneParse150, 150 classes, 20,210 training images, 2,000 val images) for UniMatch and FixMatch.
# UniMatch publishes no convolutional net on ADE20K: the settings are ours, after its VOC settings (60 passes
# over the unlabelled images as in V2): DeepLabv3+ R101, crop 513 (V2's 518 is made of the patches of a vision
# transformer, this one fits output stride 16), 2 labelled and 2 unlabelled images on each of 4 GPUs (8 + 8 in
# total, SyncBN); whole image, single scale, best checkpoint. The splits are computed, nothing to import.
# In the masks 0 is "other" and is ignored; ADE20KDataset moves the classes 1..150 to 0..149 (reduce_zero_label).
# Layout: data/ade/ADEChallengeData2016/{images,annotations}/{training,validation}; nothing to convert,
# tools/dataset_converters/ade20k.py checks it.
_base_ = "../models/deeplabv3plus_r101.py"
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
        crop_size=(513, 513),
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
# Weight decay on everything, norms and biases included.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=60)
auto_scale_lr = dict(enable=False, base_labeled=8)
