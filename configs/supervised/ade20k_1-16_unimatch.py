# Supervised baseline of UniMatch and FixMatch on ADE20K 1/16 (1,263 labelled, 18,947 unlabelled);
# all but labels and schedule as ade20k_1-64_unimatch.py, whose header says more (net, batch, lr,
# evaluation).
# The split is computed (a seeded shuffle, UniMatch V2); nothing to import.
# 142,080 iterations (60 passes of 2,368 over the unlabelled images).
_base_ = "./ade20k_1-64_unimatch.py"
max_iters = 142080
train_dataloader = dict(dataset=dict(split=dict(name="v2_ade_1of16")))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=2368)
default_hooks = dict(checkpoint=dict(interval=2368))
