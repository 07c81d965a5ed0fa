# Mean teacher on PASCAL VOC 2012 1/4, 2,646 labelled + 7,936 unlabelled images; 40 x 992 = 39,680 iterations.
# Published: 73.22 mIoU; R101 76.62 (re-runs of the CPS paper, quoted).
_base_ = ["../_base_/data/voc_cps.py", "../_base_/methods/mean_teacher.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of4")))
train_cfg = dict(max_iters=39680, num_validations=40)
