# Supervised baseline of U2PL on Cityscapes 1/4, 744 labelled; 200 x 139 = 27,800 iterations.
# Published: none of this length; fewer iterations, in passes over the labelled images: 74.43 (README).
_base_ = "../_base_/data/cityscapes_u2pl.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="u2pl_city_744"))
)
train_cfg = dict(max_iters=27800)
