# Supervised baseline of U2PL on Cityscapes 1/2, 1,488 labelled; 200 x 93 = 18,600 iterations.
# Published: none of this length; fewer iterations, in passes over the labelled images: 77.83 (README).
_base_ = "../_base_/data/cityscapes_u2pl.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="u2pl_city_1488"))
)
train_cfg = dict(max_iters=18600)
