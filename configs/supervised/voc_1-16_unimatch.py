# Supervised baseline of UniMatch and FixMatch on PASCAL VOC 2012 1/16, 662 labelled; 80 x 1,240 = 99,200 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/voc_unimatch.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_voc_1of16"))
)
train_cfg = dict(max_iters=99200)
