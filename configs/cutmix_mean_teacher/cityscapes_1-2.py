# CutMix mean teacher, an approximation, on Cityscapes 1/2, 1,488 labelled + 1,487 unlabelled images; 240 x 186 = 44,640 iterations.
# Published: R101 78.25 mIoU (CutMix-Seg, a later re-run by others, quoted); none with R50.
_base_ = ["../_base_/data/cityscapes_cps.py", "../_base_/methods/cutmix_mean_teacher.py"]
model = _base_.cps_protocol
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=2)), dataset=dict(split=dict(name="cps_city_1of2"))
)
train_cfg = dict(max_iters=44640, num_validations=240 / 5)
