# Supervised baseline of s4GAN on PASCAL VOC 2012 train_aug 1/8 (1,322 labelled, split 0), DeepLabv2
# R101 from torchvision's ImageNet weights, crop 321.
#   python tools/train.py configs/supervised/voc_1-8_s4gan.py
# The labelled list is the authors' permutation (splits/voc/split_0.pkl of sud0301/semisup-semseg),
# imported once and checked by hash:
#   python tools/splits.py import --protocol s4gan_voc_1of8 --file-labeled split_0.pkl
# One GPU: 8 labelled images, SGD lr 2.5e-4 (head 2.5e-3), weight decay 5e-4, 40,000 iterations,
# poly 0.9. Scale 0.5 to 1.6 and flip are on. Input RGB, divided by the standard deviation, stride
# in the 3x3 convolution: what the weights were trained with (the released code does neither, see
# configs/s4gan/README.md). Evaluation: images padded to 505, single scale, 1,449 val images, last
# checkpoint.
# Published: 62.0 mIoU [R] (mean of 3 splits, batch 10; marks: configs/s4gan/README.md).
_base_ = [
    "../_base_/models/deeplabv2_r101_imagenet.py",
    "../_base_/datasets/advsemiseg_voc.py",
    "../_base_/schedules/deeplabv2.py",
    "../_base_/default_runtime.py",
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size, test_cfg=dict(size=(505, 505))),
)
train_dataloader = dict(
    batch_size=8,
    sampler=dict(num_per_source=dict(labeled=8)),
    dataset=dict(split=dict(name="s4gan_voc_1of8")),
)
default_hooks = dict(checkpoint=dict(interval=5000))
auto_scale_lr = dict(enable=False, base_batch_size=8)
