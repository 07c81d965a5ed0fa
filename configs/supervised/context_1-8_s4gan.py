# Supervised baseline of s4GAN on PASCAL-Context 1/8 (624 labelled of 4,998), 60 classes, DeepLabv2
# R101 from torchvision's ImageNet weights, crop 321.
#   python tools/train.py configs/supervised/context_1-8_s4gan.py
# The authors' split numbers the rows of another list, so the labelled images are a seeded draw of
# the same number.
# One GPU: 8 labelled images, SGD lr 2.5e-4 (head 2.5e-3), weight decay 5e-4, 40,000 iterations,
# poly 0.9 (the released README intends 60,000, its command runs 40,000). Padding is ignored; the
# released code labels it background. Evaluation: short side 512, centre crop 512, image and mask,
# single scale, 5,105 val images, last checkpoint.
# Published: 32.1 mIoU [R].
_base_ = [
    "../_base_/models/deeplabv2_r101_imagenet.py",
    "../_base_/datasets/s4gan_context.py",
    "../_base_/schedules/deeplabv2.py",
    "../_base_/default_runtime.py",
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    segmentor=dict(decode_head=dict(num_classes=60)),
)
train_dataloader = dict(
    batch_size=8,
    sampler=dict(num_per_source=dict(labeled=8)),
    dataset=dict(split=dict(_delete_=True, type="RatioSplit", ratio=1 / 8, seed=0)),
)
default_hooks = dict(checkpoint=dict(interval=5000))
auto_scale_lr = dict(enable=False, base_batch_size=8)
