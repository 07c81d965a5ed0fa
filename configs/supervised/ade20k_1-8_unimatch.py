# Supervised baseline of UniMatch and FixMatch on ADE20K 1/8 (2,526 labelled, 17,684 unlabelled);
# all but labels and schedule as ade20k_1-64_unimatch.py, whose header says more (net, batch, lr,
# evaluation).
# The split is computed (a seeded shuffle, UniMatch V2); nothing to import.
# 132,600 iterations (60 passes of 2,210 over the unlabelled images).
_base_ = "./ade20k_1-64_unimatch.py"
max_iters = 132600
train_dataloader = dict(dataset=dict(split=dict(name="v2_ade_1of8")))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=2210)
default_hooks = dict(checkpoint=dict(interval=2210))
