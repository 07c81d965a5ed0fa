# Supervised baseline of U2PL on PASCAL VOC 2012, 732 labelled; 80 x 615 = 49,200 iterations.
# Published: none of this length; fewer iterations, in passes over the labelled images: 71.69 (README).
_base_ = "../_base_/data/voc_u2pl.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="classic_voc_732")),
)
train_cfg = dict(max_iters=49200)
