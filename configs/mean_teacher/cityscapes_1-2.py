# Mean teacher on Cityscapes 1/2, 1,488 labelled + 1,487 unlabelled images; 240 x 186 = 44,640 iterations.
# Published: 77.43 mIoU (recalled, not re-checked); R101 78.59 (quoted; re-runs of the CPS paper; its Cityscapes code is not released).
_base_ = ["../_base_/data/cityscapes_cps.py", "../_base_/methods/mean_teacher.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of2")))
train_cfg = dict(max_iters=44640, num_validations=240 / 5)
