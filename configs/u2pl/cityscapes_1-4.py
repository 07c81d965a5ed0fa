# U2PL on Cityscapes 1/4, 744 labelled + 2,231 unlabelled images; 200 x 139 = 27,800 iterations.
# Published: 76.47 mIoU (README of the released code, CutMix); with AEL's mixing another program.
_base_ = ["../_base_/data/cityscapes_u2pl.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, percent_iters=139)
train_dataloader = dict(dataset=dict(split=dict(name="u2pl_city_744")))
train_cfg = dict(max_iters=27800)
