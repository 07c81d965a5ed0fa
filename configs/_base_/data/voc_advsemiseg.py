# PASCAL VOC 2012 train_aug (10,582 images, 1,449 val images) by the protocol of AdvSemiSeg: DeepLabv2 R101
# from MS-COCO weights, crop 321, one GPU with 10 labelled and 10 unlabelled images and 10 ground-truth maps;
# images padded to 505, single scale, last checkpoint. Layout: voc_cps.py; weights: deeplabv2_r101.py.
# The released code shuffles without a seed, so its labelled images are not known: a seeded draw of the same
# number takes their place. It has scale and flip behind flags that its README does not give; the paper
# describes random scales. Here both are on.
_base_ = "../models/deeplabv2_r101.py"
voc = dict(type="PascalVOCDataset", data_root="data/VOCdevkit/VOC2012")
factors = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6)
scales = [[dict(type="Resize", scale_factor=factor, keep_ratio=True)] for factor in factors]
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomChoice", transforms=scales),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
# Ground truth for the discriminator: the same, never padded.
covering = dict(type="RandomCoveringResize", ratios=factors)
gt = dict(pool="labeled", pipeline=[*sup_pipeline[:2], covering, *sup_pipeline[3:]])
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=10, unlabeled=10, gt=10)),
    dataset=dict(
        crop_size=(321, 321),
        split=dict(type="RatioSplit", ratio=1 / 8, seed=0),
        labeled=dict(
            **voc,
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
            ann_file="ImageSets/Segmentation/trainaug.txt",
            pipeline=sup_pipeline,
        ),
        sources=dict(gt=gt),
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
    data_preprocessor=dict(**_base_.coco_input, test_cfg=dict(size=(505, 505))),
    segmentor=_base_.coco,
)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(max_iters=20000, num_validations=4)
auto_scale_lr = dict(enable=False, base_labeled=10)

# VOC's own train set is labelled, the images of SBD are not.
voc_train = dict(_delete_=True, type="PublishedSplit", name="classic_voc_1464")
