# Supervised baseline on Cityscapes 1/16 (186 labelled of 2,975); all but labels and schedule as
# cityscapes_1-8.py, whose header says more (list, batch, lr, GPUs, evaluation).
# 44,544 iterations (128 epochs). Published: 64.90 mIoU (derived from the CPS paper's gains).
_base_ = "./cityscapes_1-8.py"
max_iters = 44544
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of16")))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=1740)
default_hooks = dict(checkpoint=dict(interval=1740))
