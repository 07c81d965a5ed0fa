# Supervised baseline of U2PL on PASCAL VOC 2012, 183 labelled; 80 x 650 = 52,000 iterations.
# Published: none of this length; fewer iterations, in passes over the labelled images: 54.92 (README).
_base_ = "../_base_/data/voc_u2pl.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="classic_voc_183")),
)
train_cfg = dict(max_iters=52000)
