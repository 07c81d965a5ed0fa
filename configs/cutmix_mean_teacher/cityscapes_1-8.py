# CutMix mean teacher, an approximation, on Cityscapes 1/8, 372 labelled + 2,603 unlabelled images; 137 x 325 = 44,525 iterations.
# Published: R101 71.83 mIoU (CutMix-Seg, a later re-run by others, quoted); none with R50.
_base_ = ["../_base_/data/cityscapes_cps.py", "../_base_/methods/cutmix_mean_teacher.py"]
model = _base_.cps_protocol
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=2)), dataset=dict(split=dict(name="cps_city_1of8"))
)
train_cfg = dict(max_iters=44525, num_validations=137 / 5)
