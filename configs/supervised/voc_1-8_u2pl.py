# Supervised baseline of U2PL on PASCAL VOC 2012 1/8, 1,323 labelled; 80 x 578 = 46,240 iterations.
# Published: none of this length; fewer iterations, in passes over the labelled images: 71.55 (README).
_base_ = "../_base_/data/voc_u2pl.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="u2pl_voc_blender_1323")),
)
train_cfg = dict(max_iters=46240)
