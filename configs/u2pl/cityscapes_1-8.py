# U2PL on Cityscapes 1/8, 372 labelled + 2,603 unlabelled images; 200 x 163 = 32,600 iterations.
# Published: 74.37 mIoU (README of the released code, CutMix); with AEL's mixing another program.
_base_ = ["../_base_/data/cityscapes_u2pl.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, percent_iters=163)
train_dataloader = dict(dataset=dict(split=dict(name="u2pl_city_372")))
train_cfg = dict(max_iters=32600)
