# PASCAL-Context (59 classes and background = 60 classes, 4,998 training images, 5,105 val images) as MLMT sees it.
# The released code has lists of VOC alone, so all but the data is as in voc_mlmt.py. Layout and labelled images, a
# seeded draw: context_s4gan.py.
_base_ = "../models/mlmt_r101.py"
context = dict(
    type="PascalContextDataset",
    data_root="data/VOCdevkit/VOC2010",
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
)
whole_image = dict(type="Resize", scale=(320, 320))
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="AddImageLabels"),  # the classes in the full mask: before the resize
    whole_image,
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    whole_image,
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    num_workers=8,
    sampler=dict(num_per_source=dict(labeled=16, unlabeled=80)),
    dataset=dict(
        split=dict(type="RatioSplit", ratio=1 / 8, seed=0),
        labeled=dict(
            **context, ann_file="ImageSets/SegmentationContext/train.txt", pipeline=sup_pipeline
        ),
    ),
)
val_dataloader = dict(
    batch_size=32,
    dataset=dict(
        **context, ann_file="ImageSets/SegmentationContext/val.txt", pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader
# The table of scores lies in the run's work dir.
val_evaluator = dict(_delete_=True, type="ImageLevelMetric", out_file="scores.npz")
test_evaluator = val_evaluator
model = dict(classifier=dict(head=dict(num_classes=60)))
default_hooks = dict(checkpoint=dict(save_best="mAP"))
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.03, momentum=0.9, nesterov=True, weight_decay=1e-5),
)
param_scheduler = [dict(type="CosineAnnealingLR", eta_min=1e-4)]
train_cfg = dict(num_validations=20)
auto_scale_lr = dict(enable=False, base_labeled=16)
