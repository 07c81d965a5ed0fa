# Supervised baseline of U2PL on PASCAL VOC 2012 1/16, 662 labelled; 80 x 620 = 49,600 iterations.
# Published: none of this length; fewer iterations, in passes over the labelled images: 67.87 (README).
_base_ = "../_base_/data/voc_u2pl.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="u2pl_voc_blender_662")),
)
train_cfg = dict(max_iters=49600)
