# Supervised baseline of U2PL on Cityscapes 1/8, 372 labelled; 200 x 163 = 32,600 iterations.
# Published: none of this length; fewer iterations, in passes over the labelled images: 72.53 (README).
_base_ = "../_base_/data/cityscapes_u2pl.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="u2pl_city_372"))
)
train_cfg = dict(max_iters=32600)
