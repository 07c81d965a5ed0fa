# U2PL on Cityscapes 1/2, 1,488 labelled + 1,487 unlabelled images; 200 x 93 = 18,600 iterations.
# Published: 79.05 mIoU (README of the released code, CutMix); with AEL's mixing another program.
_base_ = ["../_base_/data/cityscapes_u2pl.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, percent_iters=93)
train_dataloader = dict(dataset=dict(split=dict(name="u2pl_city_1488")))
train_cfg = dict(max_iters=18600)
