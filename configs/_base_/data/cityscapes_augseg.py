# Cityscapes fine (2,975 training images, 500 val images) by the protocol of AugSeg: DeepLabv3+ R101 with multi-grid
# 2-4-8, crop 800, each image resized by a factor of its own, OHEM, 4 labelled and 4 unlabelled images on each of 4
# GPUs (16 + 16 in total, SyncBN), 240 passes over the unlabelled ones; sliding window 800 / 533, single scale, best
# checkpoint of the teacher. Validated every 10 passes; the released code also validates each of the last 49.
# Probabilities of the windows are averaged, as released; the last window is moved inwards, the released code cuts it
# off at the border. The max-pool rounds up, as released. Layout and labelled lists: cityscapes_cps.py.
_base_ = "../models/deeplabv3plus_r101.py"
cityscapes = dict(type="CityscapesDataset", data_root="data/cityscapes")
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=False),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=4, unlabeled=4)),
    dataset=dict(
        crop_size=(800, 800),
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
        type="ProbabilityWindowEncoderDecoder",
        backbone=dict(type="CeilPoolResNet", deep_stem=True, multi_grid=(2, 4, 8)),
        decode_head=dict(
            num_classes=19,
            # For the labelled batch of one GPU, 4 images as published: in proportion for another number.
            loss_decode=dict(
                _delete_=True, type="ProbOhemCrossEntropy", thresh=0.7, min_kept=100000
            ),
        ),
        test_cfg=dict(mode="slide", crop_size=(800, 800), stride=(533, 533)),
    ),
)
# One learning rate, and weight decay on everything, norms and biases included.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=24)
auto_scale_lr = dict(enable=False, base_labeled=16)
