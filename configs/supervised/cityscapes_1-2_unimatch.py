# Supervised baseline of UniMatch and FixMatch on Cityscapes 1/2, 1,488 labelled; 240 x 186 = 44,640 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/cityscapes_unimatch.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_city_1of2"))
)
train_cfg = dict(max_iters=44640)
