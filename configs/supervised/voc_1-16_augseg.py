# Supervised baseline of AugSeg on PASCAL VOC 2012 1/16, 662 labelled; 80 x 620 = 49,600 iterations.
# Published: none of this length; fewer iterations, in passes over the labelled images: 67.71, R50 63.72 (logs).
_base_ = "../_base_/data/voc_augseg.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_voc_1of16"))
)
train_cfg = dict(max_iters=49600)
