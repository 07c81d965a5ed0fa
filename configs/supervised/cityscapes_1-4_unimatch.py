# Supervised baseline of UniMatch and FixMatch on Cityscapes 1/4 (744 labelled, 2,231 unlabelled);
# all but labels and schedule as cityscapes_1-16_unimatch.py, whose header says more (list, net,
# batch, lr, evaluation).
# 66,960 iterations (240 passes of 279 over the unlabelled images).
_base_ = "./cityscapes_1-16_unimatch.py"
max_iters = 66960
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of4")))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=279)
default_hooks = dict(checkpoint=dict(interval=279))
