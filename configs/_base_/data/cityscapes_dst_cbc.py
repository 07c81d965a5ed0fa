# Cityscapes fine (2,975 training images, 500 val images) by the protocol of DST-CBC and DMT: voc_dst_cbc.py with images of
# half the size, a factor of 0.5 to 1.5, crop 256 x 512, rate 0.004; only the backbone starts from MS-COCO weights.
# Validation: the image at half its size, the prediction at the full one. The papers compare at half the size, where
# masks are resized as well, so their numbers are others' too. Layout: cityscapes_cps.py.
_base_ = "./voc_dst_cbc.py"
cityscapes = dict(type="CityscapesDataset", data_root="data/cityscapes")
halve = dict(type="Resize", scale=(1024, 512), keep_ratio=True)
factor = dict(type="RandomRelativeResize", ratio_range=(0.5, 1.5))
squashing = dict(type="RandomResize", scale=[(513, 257), (1025, 513)], keep_ratio=False)
squashing_pipeline = [*_base_.load, squashing, *_base_.cut]
train_dataloader = dict(
    dataset=dict(
        crop_size=(256, 512),
        labeled=dict(
            _delete_=True,
            **cityscapes,
            data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
            pipeline=[*_base_.load, halve, factor, *_base_.cut],
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
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
model = dict(
    data_preprocessor=dict(test_cfg=None),
    segmentor=dict(decode_head=dict(num_classes=19, init_cfg=None)),
)
imagenet = _base_.imagenet
optim_wrapper = dict(optimizer=dict(lr=0.004))
