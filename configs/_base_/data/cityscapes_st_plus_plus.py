# Cityscapes fine (2,975 training images, 500 val images) by the protocol of ST++: voc_st_plus_plus.py with crop 721, the
# long side 1,024 to 4,096 pixels, four times the rate; R50. Layout: cityscapes_cps.py.
_base_ = "./voc_st_plus_plus.py"
cityscapes = dict(type="CityscapesDataset", data_root="data/cityscapes")
resize = dict(
    type="RandomResize", scale=(4097, 4097), ratio_range=(1024 / 4097, 1.0), keep_ratio=True
)
train_dataloader = dict(
    dataset=dict(
        crop_size=(721, 721),
        labeled=dict(
            _delete_=True,
            **cityscapes,
            data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
            pipeline=[*_base_.load, resize, *_base_.cut],
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        **cityscapes,
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
        pipeline=[*_base_.load, dict(type="PackSegInputs")],
    )
)
test_dataloader = val_dataloader
model = dict(segmentor=dict(decode_head=dict(num_classes=19)))
optim_wrapper = dict(optimizer=dict(lr=0.004))
train_cfg = dict(num_validations=240)
