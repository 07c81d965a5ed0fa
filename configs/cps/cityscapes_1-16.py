# CPS (without CutMix) on Cityscapes 1/16, 186 labelled + 2,789 unlabelled images; 128 x 348 = 44,544 iterations.
# Published: 69.79 mIoU; CutMix 74.47; R101 70.50; R101 CutMix 74.72 (Chen et al., CVPR 2021, table 2).
_base_ = ["../_base_/data/cityscapes_cps.py", "../_base_/methods/cps.py"]
model = dict(_base_.method, unsup_weight=6.0)
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of16")))
train_cfg = dict(max_iters=44544, num_validations=128 / 5)
