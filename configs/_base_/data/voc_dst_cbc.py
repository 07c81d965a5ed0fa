# PASCAL VOC 2012 train_aug (10,582 images, 1,449 val images) by the protocol of DST-CBC and DMT: DeepLabv2 R101 from
# MS-COCO weights, two of its four branches in use, norms trained; each image resized by a factor of its own, 0.5 to 1.5,
# crop 321; 8 labelled images on one GPU in float32; images padded to 505, single scale. Layout: voc_cps.py.
# Lists are drawn by the authors' rule, three folds each: split.fold=1, or `mmsemi compare ... --folds 0 1 2`.
# The table of DST-CBC was made with `squashed`: height and width drawn on their own. Its authors call that a bug and
# never measured the rounds without it; DMT has the factor.
_base_ = "../models/deeplabv2_r101.py"
voc = dict(type="PascalVOCDataset", data_root="data/VOCdevkit/VOC2012")
load = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]
cut = [
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
squash = dict(type="RandomResize", scale=[(321, 321), (505, 505)], keep_ratio=False)
squashed = dict(labeled=dict(pipeline=[*load, squash, *cut]))
squeeze = dict(resize=(321, 321))
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=8, unlabeled=0)),
    dataset=dict(
        crop_size=(321, 321),
        split=dict(type="PublishedSplit", fold=0),
        labeled=dict(
            **voc,
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
            ann_file="ImageSets/Segmentation/trainaug.txt",
            pipeline=[*load, dict(type="RandomRelativeResize", ratio_range=(0.5, 1.5)), *cut],
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        **voc,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        ann_file="ImageSets/Segmentation/val.txt",
    )
)
test_dataloader = val_dataloader
model = dict(
    data_preprocessor=dict(test_cfg=dict(size=(505, 505)), **_base_.coco_input),
    segmentor=_base_.trained_norms,
)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.002, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=_base_.one_rate,
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=40)
custom_hooks = [dict(type="ExactFloat32Hook")]
