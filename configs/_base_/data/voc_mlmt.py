# PASCAL VOC 2012 train_aug (10,582 images, 1,449 val images) as MLMT sees it: a ResNet-101 classifier, whole
# images at 320x320, aspect lost, flipped; one GPU with 16 labelled and 80 unlabelled images, 100 passes over
# the labelled ones. Layout: voc_cps.py; labelled lists: voc_s4gan.py.
# Nesterov SGD with a cosine from 0.03 to 1e-4. The published code lowers the rate once an epoch; here it falls
# with each iteration, and both agree where an epoch starts.
_base_ = "../models/mlmt_r101.py"
voc = dict(type="PascalVOCDataset", data_root="data/VOCdevkit/VOC2012")
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
        split=dict(type="PublishedSplit"),
        labeled=dict(
            **voc,
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
            ann_file="ImageSets/Segmentation/trainaug.txt",
            pipeline=sup_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=32,
    dataset=dict(
        **voc,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        ann_file="ImageSets/Segmentation/val.txt",
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
# The table of scores lies in the run's work dir.
val_evaluator = dict(_delete_=True, type="ImageLevelMetric", out_file="scores.npz")
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best="mAP"))
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.03, momentum=0.9, nesterov=True, weight_decay=1e-5),
)
param_scheduler = [dict(type="CosineAnnealingLR", eta_min=1e-4)]
train_cfg = dict(num_validations=20)
auto_scale_lr = dict(enable=False, base_labeled=16)
