# PASCAL VOC 2012 train_aug (10,582 images, 1,449 val images) by the protocol of s4GAN: DeepLabv2 R101 from
# torchvision's ImageNet weights, crop 321, one GPU with 8 labelled and 8 unlabelled images and 8 ground-truth
# maps; images padded to 505, single scale, last checkpoint. Layout: voc_cps.py. Scales, flip: voc_advsemiseg.py.
# The labelled lists are the authors' permutation (splits/voc/split_0.pkl of sud0301/semisup-semseg), imported
# once for each ratio and checked by hash:
#   python tools/splits.py import --protocol s4gan_voc_1of8 --file-labeled split_0.pkl
# Input RGB, divided by the standard deviation, stride in the 3x3 convolution: what the weights were trained
# with (the released code does neither, see configs/s4gan/README.md).
_base_ = "../models/deeplabv2_r101.py"
voc = dict(type="PascalVOCDataset", data_root="data/VOCdevkit/VOC2012")
scales = [
    [dict(type="Resize", scale_factor=factor, keep_ratio=True)]
    for factor in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6)
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
    sampler=dict(num_per_source=dict(labeled=8, unlabeled=8, gt=8)),
    dataset=dict(
        crop_size=(321, 321),
        split=dict(type="PublishedSplit"),
        labeled=dict(
            **voc,
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
            ann_file="ImageSets/Segmentation/trainaug.txt",
            pipeline=sup_pipeline,
        ),
        sources=dict(gt=dict(pool="labeled", pipeline=sup_pipeline)),
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
model = dict(data_preprocessor=dict(test_cfg=dict(size=(505, 505))))
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(max_iters=40000, num_validations=8)
default_hooks = dict(checkpoint=dict(keep=[30000]))  # which the released commands evaluate
auto_scale_lr = dict(enable=False, base_labeled=8)
