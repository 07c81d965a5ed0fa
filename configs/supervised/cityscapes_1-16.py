# Supervised baseline on Cityscapes 1/16 (186 labelled of 2,975); all but labels and schedule as
# cityscapes_1-8.py, whose header says more (batch, lr, GPUs, evaluation).
# The list: train_aug_labeled_1-16.txt of charlesCXK/TorchSemiSeg, to splits/cityscapes/1-16/.
# 44,544 iterations (128 epochs). Published: 64.90 mIoU (derived from the CPS paper's gains).
_base_ = "./cityscapes_1-8.py"
max_iters = 44544
split = dict(
    labeled="splits/cityscapes/1-16/labeled.txt",
    labeled_sha256="dc2a06a86232bc32e733a8ae33e60807e9b017bf9dd5ce03b106426f3c96c496",
    origin="train_aug_labeled_1-16.txt of charlesCXK/TorchSemiSeg, DATA/city/config_new/subset_train",
)
train_dataloader = dict(dataset=dict(split=split))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=1740)
default_hooks = dict(checkpoint=dict(interval=1740))
