# Supervised baseline of CPS on Cityscapes 1/2, 1,488 labelled; 240 x 186 = 44,640 iterations.
# Published: 76.22 mIoU (derived from the CPS paper's gains).
_base_ = "../_base_/data/cityscapes_cps.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_city_1of2"))
)
train_cfg = dict(max_iters=44640, num_validations=240 / 5)
