# CutMix mean teacher, an approximation, on Cityscapes 1/16, 186 labelled + 2,789 unlabelled images; 128 x 348 = 44,544 iterations.
# Published: R101 67.06 mIoU (CutMix-Seg, a later re-run by others, quoted); none with R50.
_base_ = ["../_base_/data/cityscapes_cps.py", "../_base_/methods/cutmix_mean_teacher.py"]
model = _base_.cps_protocol
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=2)), dataset=dict(split=dict(name="cps_city_1of16"))
)
train_cfg = dict(max_iters=44544, num_validations=128 / 5)
