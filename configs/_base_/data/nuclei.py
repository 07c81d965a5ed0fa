# Cell nuclei under several microscopes (2 classes, 406 training images, 100 val images, sides up to 512), settings ours:
# EfficientNet-Lite0 from ImageNet weights, crop 96, 4 labelled and 4 unlabelled images; last checkpoint.
# Labels and hold-out: runs/choose_labels.py. Layout: data/nuclei/{images/{train,val}/*.jpg,labels/{train,val}/*.png}.
_base_ = "../models/deeplabv3plus_efficientnet_lite0.py"
nuclei = dict(type="BaseSegDataset", metainfo=dict(classes=("background", "nucleus")))
train = dict(img_path="data/nuclei/images/train", seg_map_path="data/nuclei/labels/train")
val = dict(img_path="data/nuclei/images/val", seg_map_path="data/nuclei/labels/val")
factors = (0.75, 1.0, 1.25, 1.5)
scales = [[dict(type="Resize", scale_factor=factor, keep_ratio=True)] for factor in factors]
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomChoice", transforms=scales),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=[0.25, 0.25, 0.25], direction=["horizontal", "vertical", "diagonal"]),
    dict(type="PackSemiInputs"),
]
# For CAC.
pair_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomChoice", transforms=scales),
    dict(type="OverlappingCropPair"),
    dict(type="PackSemiInputs"),
]
gt = dict(pool="labeled", pipeline=sup_pipeline)
train_dataloader = dict(
    num_workers=1,
    sampler=dict(num_per_source=dict(labeled=4, unlabeled=4)),
    dataset=dict(
        crop_size=(96, 96),
        split=dict(
            type="ListSplit",
            labeled="splits/nuclei/labels_4.txt",
            labeled_sha256="62bc4de22c06ed9ebf371805cfe4c7123c3553deb96ce548c6ec69517cfb4f42",
            unlabeled="splits/nuclei/pool.txt",
            allow_overlap=True,
        ),
        labeled=dict(**nuclei, data_prefix=train, pipeline=sup_pipeline),
    ),
)
val_dataloader = dict(num_workers=1, dataset=dict(**nuclei, data_prefix=val))
test_dataloader = val_dataloader
# Four labelled images are too few for batch-norm statistics (docs/batch_norm.md).
model = dict(backbone_norm_eval=True, segmentor=dict(decode_head=dict(num_classes=2)))
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.3))
    ),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(max_iters=400, num_validations=2)
