# Supervised baseline of UniMatch and FixMatch on Cityscapes 1/4, 744 labelled; 240 x 279 = 66,960 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/cityscapes_unimatch.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_city_1of4"))
)
train_cfg = dict(max_iters=66960)
