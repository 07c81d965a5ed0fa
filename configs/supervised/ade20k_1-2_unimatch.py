# Supervised baseline of UniMatch and FixMatch on ADE20K 1/2 (10,105 labelled, 10,105 unlabelled);
# all but labels and schedule as ade20k_1-64_unimatch.py, whose header says more (net, batch, lr,
# evaluation).
# The split is computed (a seeded shuffle, UniMatch V2); nothing to import.
# 75,780 iterations (60 passes of 1,263 over the unlabelled images).
_base_ = "./ade20k_1-64_unimatch.py"
max_iters = 75780
train_dataloader = dict(dataset=dict(split=dict(name="v2_ade_1of2")))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=1263)
default_hooks = dict(checkpoint=dict(interval=1263))
