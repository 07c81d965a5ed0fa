# CPS+CutMix by the protocol of CAC, as in a fork of its code, on PASCAL VOC 2012 1/8, list 0, 1,323 labelled + 9,259 unlabelled images; 80 x 1,157 = 92,560 iterations.
# Published: none.
_base_ = ["../_base_/data/voc_cac.py", "../_base_/methods/cps.py"]
model = dict(_base_.method, unsup_weight=1.5, mix=dict(type="CutMix"))
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=8)),
    dataset=dict(split=dict(name="cac_voc_1323_d0"), unlabeled=dict(_delete_=True)),
)
