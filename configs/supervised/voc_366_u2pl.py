# Supervised baseline of U2PL on PASCAL VOC 2012, 366 labelled; 80 x 638 = 51,040 iterations.
# Published: none of this length; fewer iterations, in passes over the labelled images: 65.88 (README).
_base_ = "../_base_/data/voc_u2pl.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="classic_voc_366")),
)
train_cfg = dict(max_iters=51040)
