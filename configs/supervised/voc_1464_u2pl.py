# Supervised baseline of U2PL on PASCAL VOC 2012, 1,464 labelled; 80 x 570 = 45,600 iterations.
# Published: none of this length; fewer iterations, in passes over the labelled images: 72.50 (README).
_base_ = "../_base_/data/voc_u2pl.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="classic_voc_1464")),
)
train_cfg = dict(max_iters=45600)
