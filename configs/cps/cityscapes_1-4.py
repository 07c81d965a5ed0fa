# CPS (without CutMix) on Cityscapes 1/4, 744 labelled + 2,231 unlabelled images; 160 x 279 = 44,640 iterations.
# Published: 76.85 mIoU; CutMix 77.83; R101 77.41; R101 CutMix 79.21 (Chen et al., CVPR 2021, table 2).
_base_ = ["../_base_/data/cityscapes_cps.py", "../_base_/methods/cps.py"]
model = dict(_base_.method, unsup_weight=6.0)
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of4")))
train_cfg = dict(max_iters=44640, num_validations=160 / 5)
