# Cityscapes fine (19 classes, 2,975 training images, 500 val images) by the protocol of CPS, which mean
# teacher and CutMix mean teacher share: DeepLabv3+ R50, crop 800, OHEM, 1 labelled image on each of 8 GPUs
# (8 in total, SyncBN) and as many unlabelled ones; a validation every 5 passes over the unlabelled images, by
# a sliding window 800 / 534, single scale, best checkpoint. Learning rate and weight decay: voc_cps.py.
# Layout: data/cityscapes/{leftImg8bit,gtFine}/{train,val}/<city>/, masks as *_gtFine_labelTrainIds.png
# (tools/dataset_converters/cityscapes.py).
# CPS takes every k-th image of a list whose order nothing reproduces. Import that list once, for all ratios
# (train.txt: DATA/city/config_new/train.txt of charlesCXK/TorchSemiSeg; checked by hash):
#   python tools/splits.py import --master city_cps train.txt
# Without it, a random eighth:
#   --cfg-options train_dataloader.dataset.split._delete_=True \
#     train_dataloader.dataset.split.type=RatioSplit train_dataloader.dataset.split.ratio=0.125
_base_ = "../models/deeplabv3plus_r50.py"
cityscapes = dict(type="CityscapesDataset", data_root="data/cityscapes")
# The six scales of the released code (there is no 1.25).
scales = [
    [dict(type="Resize", scale_factor=factor, keep_ratio=True)]
    for factor in (0.5, 0.75, 1.0, 1.5, 1.75, 2.0)
]
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomChoice", transforms=scales),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=1, unlabeled=1)),
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
        decode_head=dict(
            num_classes=19,
            # 50,000 for each labelled image on the GPU.
            loss_decode=dict(
                _delete_=True, type="ProbOhemCrossEntropy", thresh=0.7, min_kept=50000
            ),
        ),
        test_cfg=dict(mode="slide", crop_size=(800, 800), stride=(534, 534)),
    ),
)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.0025, momentum=0.9, weight_decay=8e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
auto_scale_lr = dict(enable=False, base_labeled=8)
