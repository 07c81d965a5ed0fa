# Supervised baseline of CPS on Cityscapes 1/16, 186 labelled; 128 x 348 = 44,544 iterations.
# Published: 64.90 mIoU (derived from the CPS paper's gains).
_base_ = "../_base_/data/cityscapes_cps.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_city_1of16"))
)
train_cfg = dict(max_iters=44544, num_validations=128 / 5)
