# Supervised baseline of UniMatch and FixMatch on PASCAL VOC 2012 train_aug, 1,464 labelled and
# 9,118 unlabelled images; all but labels and schedule as voc_92_unimatch.py, whose header says more
# (net, batch, lr, evaluation).
# The labelled images are those of VOC 2012 train; nothing to import.
# 91,200 iterations (80 passes of 1,140 over the unlabelled images).
_base_ = "./voc_92_unimatch.py"
max_iters = 91200
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_1464")))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=1140)
default_hooks = dict(checkpoint=dict(interval=1140))
