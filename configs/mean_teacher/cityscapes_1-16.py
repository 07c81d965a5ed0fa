# Mean teacher on Cityscapes 1/16, 186 labelled + 2,789 unlabelled images; 128 x 348 = 44,544 iterations.
# Published: 66.14 mIoU (recalled, not re-checked); R101 68.08 (quoted; re-runs of the CPS paper; its Cityscapes code is not released).
_base_ = ["../_base_/data/cityscapes_cps.py", "../_base_/methods/mean_teacher.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of16")))
train_cfg = dict(max_iters=44544, num_validations=128 / 5)
