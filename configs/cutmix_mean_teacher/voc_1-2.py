# CutMix mean teacher, an approximation, on PASCAL VOC 2012 1/2, 5,291 labelled + 5,291 unlabelled images; 60 x 661 = 39,660 iterations.
# Published: 74.49 mIoU; R101 75.89 (CutMix-Seg, re-runs of the CPS paper, quoted).
_base_ = ["../_base_/data/voc_cps.py", "../_base_/methods/cutmix_mean_teacher.py"]
model = _base_.cps_protocol
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=4)), dataset=dict(split=dict(name="cps_voc_1of2"))
)
train_cfg = dict(max_iters=39660, num_validations=60)
