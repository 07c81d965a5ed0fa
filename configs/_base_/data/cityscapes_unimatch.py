# Cityscapes fine (2,975 training images, 500 val images) by the protocol of UniMatch V1, which FixMatch
# shares: DeepLabv3+ R101, crop 801, each image resized by a factor of its own, OHEM, 2 labelled and 2
# unlabelled images on each of 4 GPUs (8 + 8 in total, SyncBN), 240 passes over the unlabelled ones; sliding
# window 801 / 534, single scale, best checkpoint. Probabilities of the windows are averaged, as released; the last
# window is moved inwards, the released code cuts it off at the border. Layout and labelled lists: cityscapes_cps.py.
_base_ = "../models/deeplabv3plus_r101.py"
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
        crop_size=(801, 801),
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
        decode_head=dict(
            num_classes=19,
            # For the labelled batch of one GPU, 2 images as published: in proportion for another number.
            loss_decode=dict(
                _delete_=True, type="ProbOhemCrossEntropy", thresh=0.7, min_kept=200000
            ),
        ),
        test_cfg=dict(mode="slide", crop_size=(801, 801), stride=(534, 534)),
    ),
)
# One learning rate, and weight decay on everything, norms and biases included.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.005, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=240)
auto_scale_lr = dict(enable=False, base_labeled=8)
