# CutMix mean teacher, an approximation, on PASCAL VOC 2012 1/4, 2,646 labelled + 7,936 unlabelled images; 40 x 992 = 39,680 iterations.
# Published: 72.46 mIoU; R101 74.25 (CutMix-Seg, re-runs of the CPS paper, quoted).
_base_ = ["../_base_/data/voc_cps.py", "../_base_/methods/cutmix_mean_teacher.py"]
model = _base_.cps_protocol
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=4)), dataset=dict(split=dict(name="cps_voc_1of4"))
)
train_cfg = dict(max_iters=39680, num_validations=40)
