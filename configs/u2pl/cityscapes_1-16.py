# U2PL on Cityscapes 1/16, 186 labelled + 2,789 unlabelled images; 200 x 174 = 34,800 iterations.
# Published: 70.30 mIoU (README of the released code, CutMix); with AEL's mixing another program.
_base_ = ["../_base_/data/cityscapes_u2pl.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, percent_iters=174)
train_dataloader = dict(dataset=dict(split=dict(name="u2pl_city_186")))
train_cfg = dict(max_iters=34800)
