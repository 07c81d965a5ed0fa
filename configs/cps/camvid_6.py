# CPS+CutMix on CamVid, 6 labelled images; settings are ours, chosen on nuclei, where strong views gain one point.
_base_ = ["../_base_/data/camvid_lite0.py", "../_base_/methods/cps.py"]
model = dict(
    _base_.method, strong=dict(type="StrongPhotometric"), mix=dict(type="CutMix"), unsup_weight=1.0
)
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=8)))
