# Supervised baseline on PASCAL VOC 2012 train_aug 1/4 (2,646 labelled), DeepLabv3+ R50.
# Total batch 8 labelled (2 on each of 4 GPUs), SGD lr 0.0025, weight decay 4e-4 (effective values
# of the released CPS code), 39,680 iterations (40 epochs of the code). Whole image, single scale,
# 1,449 val images, best checkpoint. No published number is at hand (1/8: 69.43).
_base_ = "./voc_1-8.py"
max_iters = 39680
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of4")))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=992)
default_hooks = dict(checkpoint=dict(interval=992))
