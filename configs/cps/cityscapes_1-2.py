# CPS (without CutMix) on Cityscapes 1/2, 1,488 labelled + 1,487 unlabelled images; 240 x 186 = 44,640 iterations.
# Published: 78.64 mIoU; CutMix 78.77; R101 80.08; R101 CutMix 80.21 (Chen et al., CVPR 2021, table 2).
_base_ = ["../_base_/data/cityscapes_cps.py", "../_base_/methods/cps.py"]
model = dict(_base_.method, unsup_weight=6.0)
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of2")))
train_cfg = dict(max_iters=44640, num_validations=240 / 5)
