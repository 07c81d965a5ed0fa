# Supervised baseline of U2PL on PASCAL VOC 2012 1/4, 2,646 labelled; 80 x 496 = 39,680 iterations.
# Published: none of this length; fewer iterations, in passes over the labelled images: 75.80 (README).
_base_ = "../_base_/data/voc_u2pl.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="u2pl_voc_blender_2646")),
)
train_cfg = dict(max_iters=39680)
