# Supervised baseline of UniMatch and FixMatch on Cityscapes 1/8 (372 labelled, 2,603 unlabelled);
# all but labels and schedule as cityscapes_1-16_unimatch.py, whose header says more (list, net,
# batch, lr, evaluation).
# 78,000 iterations (240 passes of 325 over the unlabelled images).
_base_ = "./cityscapes_1-16_unimatch.py"
max_iters = 78000
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of8")))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=325)
default_hooks = dict(checkpoint=dict(interval=325))
