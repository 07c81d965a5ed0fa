# Supervised baseline of UniMatch and FixMatch on Cityscapes 1/16, 186 labelled; 240 x 349 = 83,760 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/cityscapes_unimatch.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_city_1of16"))
)
train_cfg = dict(max_iters=83760)
