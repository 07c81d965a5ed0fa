# Supervised baseline on Cityscapes 1/2 (1,488 labelled of 2,975); all but labels and schedule as
# cityscapes_1-8.py, whose header says more (batch, lr, GPUs, evaluation).
# The list: train_aug_labeled_1-2.txt of charlesCXK/TorchSemiSeg, to splits/cityscapes/1-2/.
# 44,640 iterations (240 epochs). Published: 76.22 mIoU (derived from the CPS paper's gains).
_base_ = "./cityscapes_1-8.py"
max_iters = 44640
split = dict(
    labeled="splits/cityscapes/1-2/labeled.txt",
    labeled_sha256="f071d8e32b163da41105b296af66975544141343a3af44449f74dd30a16facc9",
    origin="train_aug_labeled_1-2.txt of charlesCXK/TorchSemiSeg, DATA/city/config_new/subset_train",
)
train_dataloader = dict(dataset=dict(split=split))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=930)
default_hooks = dict(checkpoint=dict(interval=930))
