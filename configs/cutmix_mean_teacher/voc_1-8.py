# CutMix mean teacher, an approximation, on PASCAL VOC 2012 1/8, 1,323 labelled + 9,259 unlabelled images; 34 x 1,157 = 39,338 iterations.
# Published: 70.70 mIoU; R101 72.69 (CutMix-Seg, re-runs of the CPS paper, quoted).
_base_ = ["../_base_/data/voc_cps.py", "../_base_/methods/cutmix_mean_teacher.py"]
model = _base_.cps_protocol
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=4)), dataset=dict(split=dict(name="cps_voc_1of8"))
)
train_cfg = dict(max_iters=39338, num_validations=34)
