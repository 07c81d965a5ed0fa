# Mean teacher on PASCAL VOC 2012 1/16, 662 labelled + 9,920 unlabelled images; 32 x 1,240 = 39,680 iterations.
# Published: 66.77 mIoU; R101 70.59 (re-runs of the CPS paper, quoted).
_base_ = ["../_base_/data/voc_cps.py", "../_base_/methods/mean_teacher.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of16")))
train_cfg = dict(max_iters=39680, num_validations=32)
