# Supervised baseline of AugSeg on PASCAL VOC 2012, 92 labelled; 80 x 655 = 52,400 iterations.
# Published: none of this length; fewer iterations, in passes over the labelled images: 43.92, R50 44.03 (logs).
_base_ = "../_base_/data/voc_augseg.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="classic_voc_92"))
)
train_cfg = dict(max_iters=52400)
