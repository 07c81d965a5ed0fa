# Supervised baseline of UniMatch and FixMatch on Cityscapes 1/2 (1,488 labelled, 1,487 unlabelled);
# all but labels and schedule as cityscapes_1-16_unimatch.py, whose header says more (list, net,
# batch, lr, evaluation).
# 44,640 iterations (240 passes of 186 over the unlabelled images).
_base_ = "./cityscapes_1-16_unimatch.py"
max_iters = 44640
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of2")))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=186)
default_hooks = dict(checkpoint=dict(interval=186))
