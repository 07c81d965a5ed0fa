# Cityscapes fine (2,975 training images, 500 val images) at half resolution, 512 x 1024, by the protocol of
# s4GAN: DeepLabv2 R101 from torchvision's ImageNet weights, crop 256 x 512, flip, no other scale, one GPU with
# 8 labelled and 8 unlabelled images and 8 ground-truth maps; single scale, last checkpoint. The authors' split
# numbers the files of their disk, so the labelled images are a seeded draw of the same number.
# Validation halves image and mask, `test_pipeline` the image alone: cityscapes_advsemiseg.py.
# Layout: cityscapes_cps.py.
_base_ = "../models/deeplabv2_r101.py"
cityscapes = dict(type="CityscapesDataset", data_root="data/cityscapes")
halve = dict(type="Resize", scale=(1024, 512))
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    halve,
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    halve,
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
# Predictions are resized to `ori_shape`, which has to be the size of the masks.
shape_of_mask = dict(mapping=dict(img_shape="img_shape"), remapping=dict(img_shape="ori_shape"))
half_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    halve,
    dict(type="KeyMapper", **shape_of_mask),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=8, unlabeled=8, gt=8)),
    dataset=dict(
        crop_size=(256, 512),
        split=dict(type="RatioSplit", ratio=1 / 8, seed=0),
        labeled=dict(
            **cityscapes,
            data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
            pipeline=sup_pipeline,
        ),
        sources=dict(gt=dict(pool="labeled", pipeline=sup_pipeline)),
    ),
)
val_dataloader = dict(
    dataset=dict(
        **cityscapes,
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
        pipeline=half_pipeline,
    )
)
test_dataloader = val_dataloader
model = dict(segmentor=dict(decode_head=dict(num_classes=19)))
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
train_cfg = dict(max_iters=40000, num_validations=8)
default_hooks = dict(checkpoint=dict(keep=[30000]))  # which the released commands evaluate
auto_scale_lr = dict(enable=False, base_labeled=8)

# s4GAN's large net: DeepLabv3+ with Wide ResNet-38 (output stride 8, logits at stride 2, 137.10 million
# parameters), all norms trained, lr 1e-3. The trunk starts from ImageNet weights that are not in any model zoo
# that mmengine knows; with such a file:
#   python tools/checkpoint_converters/wider_resnet38.py DOWNLOAD.pth checkpoints/wider_resnet38.pth
# The rest learns 10 times as fast. The published input is BGR minus (73.158, 82.909, 72.392), divided by 255;
# here it is what the ImageNet weights were trained with.
norm_cfg = dict(type="SyncBN", requires_grad=True)
wrn38 = dict(
    _delete_=True,
    type="EncoderDecoder",
    backbone=dict(
        type="WiderResNet38",
        norm_cfg=norm_cfg,
        init_cfg=dict(
            type="Pretrained", checkpoint="checkpoints/wider_resnet38.pth", prefix="backbone."
        ),
    ),
    decode_head=dict(
        type="DeepLabV3PlusWRNHead",
        in_channels=[128, 4096],
        in_index=[0, 1],
        channels=256,
        c1_channels=48,
        num_classes=19,
        norm_cfg=norm_cfg,
        loss_decode=dict(type="PixelCrossEntropy"),
    ),
    test_cfg=dict(mode="whole"),
)
