# CPS (without CutMix) by the protocol of CAC, as in a fork of its code, on Cityscapes 1/8, list 0, 372 labelled + 2,603 unlabelled images; 80 x 1,157 = 92,560 iterations.
# Published: none.
_base_ = ["../_base_/data/cityscapes_cac.py", "../_base_/methods/cps.py"]
model = dict(_base_.method, unsup_weight=1.5)
train_dataloader = dict(
    dataset=dict(split=dict(name="cac_city_372_d0"), unlabeled=dict(_delete_=True)),
)
