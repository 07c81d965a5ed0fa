# Mean teacher on PASCAL VOC 2012 1/2, 5,291 labelled + 5,291 unlabelled images; 60 x 661 = 39,660 iterations.
# Published: 75.41 mIoU; R101 77.61 (re-runs of the CPS paper, quoted).
_base_ = ["../_base_/data/voc_cps.py", "../_base_/methods/mean_teacher.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of2")))
train_cfg = dict(max_iters=39660, num_validations=60)
