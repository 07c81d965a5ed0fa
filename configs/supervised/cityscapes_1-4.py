# Supervised baseline on Cityscapes 1/4 (744 labelled of 2,975); all but labels and schedule as
# cityscapes_1-8.py, whose header says more (batch, lr, GPUs, evaluation).
# The list: train_aug_labeled_1-4.txt of charlesCXK/TorchSemiSeg, to splits/cityscapes/1-4/.
# 44,640 iterations (160 epochs). Published: 74.11 mIoU (derived from the CPS paper's gains).
_base_ = "./cityscapes_1-8.py"
max_iters = 44640
split = dict(
    labeled="splits/cityscapes/1-4/labeled.txt",
    labeled_sha256="605f06bce9cb841e11db460b00e05c6edfdbd3e66a390f3ade7ef00172af4694",
    origin="train_aug_labeled_1-4.txt of charlesCXK/TorchSemiSeg, DATA/city/config_new/subset_train",
)
train_dataloader = dict(dataset=dict(split=split))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=1395)
default_hooks = dict(checkpoint=dict(interval=1395))
