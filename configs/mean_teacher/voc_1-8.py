# Mean teacher on PASCAL VOC 2012 1/8, 1,323 labelled + 9,259 unlabelled images; 34 x 1,157 = 39,338 iterations.
# Published: 70.78 mIoU; R101 73.20 (re-runs of the CPS paper, quoted).
_base_ = ["../_base_/data/voc_cps.py", "../_base_/methods/mean_teacher.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of8")))
train_cfg = dict(max_iters=39338, num_validations=34)
