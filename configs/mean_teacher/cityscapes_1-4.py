# Mean teacher on Cityscapes 1/4, 744 labelled + 2,231 unlabelled images; 160 x 279 = 44,640 iterations.
# Published: 74.47 mIoU (recalled, not re-checked); R101 76.53 (quoted; re-runs of the CPS paper; its Cityscapes code is not released).
_base_ = ["../_base_/data/cityscapes_cps.py", "../_base_/methods/mean_teacher.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of4")))
train_cfg = dict(max_iters=44640, num_validations=160 / 5)
