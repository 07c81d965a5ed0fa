# PASCAL-Context (59 classes and background = 60 classes, 4,998 training images, 5,105 val images) by the
# protocol of s4GAN: DeepLabv2 R101 from torchvision's ImageNet weights, crop 321, a blur of half of the
# training images, one GPU with 8 labelled and 8 unlabelled images and 8 ground-truth maps, 40,000 iterations
# (the released README intends 60,000, its command runs 40,000); last checkpoint. Validation: short side 512,
# the 512 x 512 centre, image and mask alike; `test_pipeline` keeps the whole image at its own size.
# Padding is ignored; the released code labels it background. The authors' split numbers the rows of another
# list, so the labelled images are a seeded draw of the same number.
# Layout: data/VOCdevkit/VOC2010/{JPEGImages, SegmentationClassContext, ImageSets/SegmentationContext}, made by
# tools/dataset_converters/pascal_context.py. (The JSON of the Detail API, which mmseg's converter reads, has a
# few images less.)
_base_ = "../models/deeplabv2_r101.py"
context = dict(
    type="PascalContextDataset",
    data_root="data/VOCdevkit/VOC2010",
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
)
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    # The short side, drawn from 252 to 1010 pixels; the long side has no limit of its own.
    dict(type="RandomResize", scale=(100000, 505), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    # The radius is uniform in 0 to 1.
    dict(type="mmpretrain.GaussianBlur", magnitude_range=(0.0, 1.0), magnitude_std="inf", prob=0.5),
    dict(type="PackSemiInputs"),
]
centre_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    # The short side; the long one has no limit of its own.
    dict(type="Resize", scale=(100000, 512), keep_ratio=True),
    dict(type="CenterCrop", crop_size=512),
    # Predictions are resized to `ori_shape`, which has to be the size of the masks.
    dict(
        type="KeyMapper", mapping=dict(img_shape="img_shape"), remapping=dict(img_shape="ori_shape")
    ),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=8, unlabeled=8, gt=8)),
    dataset=dict(
        crop_size=(321, 321),
        split=dict(type="RatioSplit", ratio=1 / 8, seed=0),
        labeled=dict(
            **context, ann_file="ImageSets/SegmentationContext/train.txt", pipeline=sup_pipeline
        ),
        sources=dict(gt=dict(pool="labeled", pipeline=sup_pipeline)),
    ),
)
val_dataloader = dict(
    dataset=dict(
        **context, ann_file="ImageSets/SegmentationContext/val.txt", pipeline=centre_pipeline
    )
)
test_dataloader = val_dataloader
model = dict(segmentor=dict(decode_head=dict(num_classes=60)))
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(max_iters=40000, num_validations=8)
auto_scale_lr = dict(enable=False, base_labeled=8)
