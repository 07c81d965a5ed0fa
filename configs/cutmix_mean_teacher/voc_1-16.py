# CutMix mean teacher, an approximation, on PASCAL VOC 2012 1/16, 662 labelled + 9,920 unlabelled images; 32 x 1,240 = 39,680 iterations.
# Published: 68.90 mIoU; R101 72.56 (CutMix-Seg, re-runs of the CPS paper, quoted).
_base_ = ["../_base_/data/voc_cps.py", "../_base_/methods/cutmix_mean_teacher.py"]
model = _base_.cps_protocol
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=4)), dataset=dict(split=dict(name="cps_voc_1of16"))
)
train_cfg = dict(max_iters=39680, num_validations=32)
