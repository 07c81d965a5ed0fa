# Supervised baseline of U2PL on PASCAL VOC 2012 1/2, 5,291 labelled; 80 x 330 = 26,400 iterations.
# Published: none of this length; fewer iterations, in passes over the labelled images: 77.13 (README).
_base_ = "../_base_/data/voc_u2pl.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="u2pl_voc_blender_5291")),
)
train_cfg = dict(max_iters=26400)
