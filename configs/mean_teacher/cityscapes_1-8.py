# Mean teacher on Cityscapes 1/8, 372 labelled + 2,603 unlabelled images; 137 x 325 = 44,525 iterations.
# Published: 72.03 mIoU (recalled, not re-checked); R101 73.71 (quoted; re-runs of the CPS paper; its Cityscapes code is not released).
_base_ = ["../_base_/data/cityscapes_cps.py", "../_base_/methods/mean_teacher.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of8")))
train_cfg = dict(max_iters=44525, num_validations=137 / 5)
