# Supervised baseline of UniMatch and FixMatch on PASCAL VOC 2012 train_aug 1/4 (2,646 labelled,
# 7,936 unlabelled); all but labels and schedule as voc_92_unimatch.py, whose header says more (net,
# batch, lr, evaluation).
# Every k-th id of train_aug, as in CPS; computed, nothing to import.
# 79,360 iterations (80 passes of 992 over the unlabelled images).
_base_ = "./voc_92_unimatch.py"
max_iters = 79360
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of4")))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=992)
default_hooks = dict(checkpoint=dict(interval=992))
