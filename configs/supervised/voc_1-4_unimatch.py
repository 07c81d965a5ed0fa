# Supervised baseline of UniMatch and FixMatch on PASCAL VOC 2012 1/4, 2,646 labelled; 80 x 992 = 79,360 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/voc_unimatch.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_voc_1of4"))
)
train_cfg = dict(max_iters=79360)
