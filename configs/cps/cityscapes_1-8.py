# CPS (without CutMix) on Cityscapes 1/8, 372 labelled + 2,603 unlabelled images; 137 x 325 = 44,525 iterations.
# Published: 74.39 mIoU; CutMix 76.61; R101 75.71; R101 CutMix 77.62 (Chen et al., CVPR 2021, table 2); users of the released code report 70.7 only.
_base_ = ["../_base_/data/cityscapes_cps.py", "../_base_/methods/cps.py"]
model = dict(_base_.method, unsup_weight=6.0)
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of8")))
train_cfg = dict(max_iters=44525, num_validations=137 / 5)
