# Cityscapes fine (2,975 training images, 500 val images) by the protocol of U2PL: its DeepLabv3+ R101 of output stride 8, crop
# 769, each image resized by a factor of 0.5 to 1 or of 1 to 2, both as likely; OHEM, 0.4 of it for an auxiliary head; 2
# labelled and 2 unlabelled images on each of 8 GPUs (16 + 16 in total, SyncBN), 200 passes over the unlabelled ones; sliding
# window 769 / 513, single scale, best checkpoint. Layout: cityscapes_cps.py.
_base_ = "../models/deeplabv3plus_r101.py"
cityscapes = dict(type="CityscapesDataset", data_root="data/cityscapes")
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
    sampler=dict(num_per_source=dict(labeled=2, unlabeled=2)),
    dataset=dict(
        crop_size=(769, 769),
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
norm_cfg = dict(type="SyncBN", requires_grad=True)
# For the labelled batch of one GPU, 2 images as published: in proportion for another number.
ohem = dict(type="ProbOhemCrossEntropy", thresh=0.7, min_kept=100000)
model = dict(
    segmentor=dict(
        backbone=dict(
            type="CeilPoolResNet",
            deep_stem=True,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            multi_grid=(4, 8, 16),
        ),
        decode_head=dict(
            _delete_=True, type="U2PLHead", num_classes=19, norm_cfg=norm_cfg, loss_decode=ohem
        ),
        auxiliary_head=dict(
            type="FCNHead",
            in_channels=1024,
            in_index=2,
            channels=256,
            num_convs=1,
            concat_input=False,
            num_classes=19,
            norm_cfg=norm_cfg,
            align_corners=True,
            loss_decode=dict(ohem, loss_weight=0.4),
        ),
        test_cfg=dict(mode="slide", crop_size=(769, 769), stride=(513, 513)),
    ),
)
# One learning rate, and weight decay on everything, norms and biases included.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=20)
auto_scale_lr = dict(enable=False, base_labeled=16)
