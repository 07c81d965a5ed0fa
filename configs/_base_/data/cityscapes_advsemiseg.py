# Cityscapes fine (2,975 training images, 500 val images) at half resolution by the protocol of AdvSemiSeg:
# DeepLabv2 R101 from MS-COCO weights (backbone only, the classes differ), whole images of 512 x 1024, no crop
# and no scale (the flip is ours), one GPU with 2 labelled and 2 unlabelled images and 2 ground-truth maps;
# single scale, last checkpoint. Batch and iterations are the paper's, there is no code for Cityscapes. The
# paper's labelled images are not known: a seeded draw of the same number takes their place.
# Validation halves image and mask. `test_pipeline` halves the image alone, so that predictions are scored, and
# returned for new images, at their own resolution (configs/advsemiseg/cityscapes_full-resolution.py); which of
# both the paper does, it does not say.
# Layout: cityscapes_cps.py; weights: deeplabv2_r101.py.
_base_ = "../models/deeplabv2_r101.py"
cityscapes = dict(type="CityscapesDataset", data_root="data/cityscapes")
halve = dict(type="Resize", scale=(1024, 512))
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    halve,
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    halve,
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
# Predictions are resized to `ori_shape`, which has to be the size of the masks.
shape_of_mask = dict(mapping=dict(img_shape="img_shape"), remapping=dict(img_shape="ori_shape"))
half_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    halve,
    dict(type="KeyMapper", **shape_of_mask),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=2, unlabeled=2, gt=2)),
    dataset=dict(
        split=dict(type="RatioSplit", ratio=1 / 8, seed=0),
        labeled=dict(
            **cityscapes,
            data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
            pipeline=sup_pipeline,
        ),
        sources=dict(gt=dict(pool="labeled", pipeline=sup_pipeline)),
    ),
)
val_dataloader = dict(
    dataset=dict(
        **cityscapes,
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
        pipeline=half_pipeline,
    )
)
test_dataloader = val_dataloader
model = dict(
    data_preprocessor=_base_.coco_input,
    segmentor=dict(backbone=_base_.coco_backbone, decode_head=dict(num_classes=19)),
)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(max_iters=40000, num_validations=8)
auto_scale_lr = dict(enable=False, base_labeled=2)
