# Supervised baseline of CPS on Cityscapes 1/4, 744 labelled; 160 x 279 = 44,640 iterations.
# Published: 74.11 mIoU (derived from the CPS paper's gains).
_base_ = "../_base_/data/cityscapes_cps.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_city_1of4"))
)
train_cfg = dict(max_iters=44640, num_validations=160 / 5)
