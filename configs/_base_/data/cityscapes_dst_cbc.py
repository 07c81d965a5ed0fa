# Cityscapes fine (2,975 training images, 500 val images) by the protocol of DST-CBC and DMT, which is that of voc_dst_cbc.py
# with images of half the size, a factor of 0.5 to 1.5, crop 256 x 512, rate 0.004; only the backbone starts from MS-COCO
# weights. Test: the image at half its size, the prediction compared at the full one (the papers compare at half the size,
# masks resized too: other numbers). Layout: cityscapes_cps.py.
_base_ = "../models/deeplabv2_r101.py"
cityscapes = dict(type="CityscapesDataset", data_root="data/cityscapes")
load = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]
halve = dict(type="Resize", scale=(1024, 512), keep_ratio=True)
cut = [
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
factor = dict(type="RandomRelativeResize", ratio_range=(0.5, 1.5))
squash = dict(type="RandomResize", scale=[(513, 257), (1025, 513)], keep_ratio=False)
squashed = dict(crop_size=(257, 513), labeled=dict(pipeline=[*load, squash, *cut]))
squeeze = dict(resize=(513, 257))
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=8, unlabeled=0)),
    dataset=dict(
        crop_size=(256, 512),
        split=dict(type="PublishedSplit", fold=0),
        labeled=dict(
            **cityscapes,
            data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
            pipeline=[*load, halve, factor, *cut],
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        **cityscapes,
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
        pipeline=[
            dict(type="LoadImageFromFile"),
            halve,
            dict(type="LoadAnnotations"),
            dict(type="PackSegInputs"),
        ],
    )
)
test_dataloader = val_dataloader
head = dict(num_active_branches=2, num_classes=19)
model = dict(
    data_preprocessor=_base_.coco_input,
    segmentor=dict(_base_.trained_norms, decode_head=head),
)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.004, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=_base_.one_rate,
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(num_validations=40)
custom_hooks = [dict(type="ExactFloat32Hook")]
