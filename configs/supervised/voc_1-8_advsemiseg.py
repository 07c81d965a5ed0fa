# Supervised baseline of AdvSemiSeg on PASCAL VOC 2012 train_aug 1/8 (1,322 labelled), DeepLabv2
# R101 from MS-COCO weights, crop 321.
#   python tools/train.py configs/supervised/voc_1-8_advsemiseg.py
# Weights: configs/_base_/models/deeplabv2_r101.py says how to convert the file of the released code
# (MS-COCO, Caffe: BGR, mean only).
# The released code shuffles without a seed, so its labelled images are not known: these are a
# seeded draw of the same number.
# One GPU: 10 labelled images, SGD lr 2.5e-4 (head 2.5e-3), weight decay 5e-4, 20,000 iterations,
# poly 0.9. Scale 0.5 to 1.6 and flip are on. Evaluation: images padded to 505, single scale, 1,449
# val images, last checkpoint.
# Published: 66.0 mIoU [V] (marks: configs/advsemiseg/README.md).
_base_ = [
    "../_base_/models/deeplabv2_r101.py",
    "../_base_/datasets/advsemiseg_voc.py",
    "../_base_/schedules/deeplabv2.py",
    "../_base_/default_runtime.py",
]
max_iters = 20000
model = dict(
    data_preprocessor=dict(size=_base_.crop_size, test_cfg=dict(size=(505, 505))),
    segmentor=dict(
        decode_head=dict(
            # The published runs take the head of the 21 classes as well.
            init_cfg=dict(
                type="Pretrained",
                checkpoint="checkpoints/deeplabv2_r101_coco.pth",
                prefix="decode_head.",
            ),
        ),
    ),
)
train_dataloader = dict(
    batch_size=10,
    sampler=dict(num_per_source=dict(labeled=10)),
    dataset=dict(split=dict(_delete_=True, type="RatioSplit", ratio=1 / 8, seed=0)),
)
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters)
default_hooks = dict(checkpoint=dict(interval=5000))
auto_scale_lr = dict(enable=False, base_batch_size=10)
