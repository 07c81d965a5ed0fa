# Supervised baseline of CPS on Cityscapes 1/8, 372 labelled; 137 x 325 = 44,525 iterations.
# Published: 70.32 mIoU (derived from the CPS paper's gains).
_base_ = "../_base_/data/cityscapes_cps.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_city_1of8"))
)
train_cfg = dict(max_iters=44525, num_validations=137 / 5)
