# CPS+CutMix on nuclei, 4 labelled images; settings are ours: strong views gain one point (docs/results/nuclei.md).
_base_ = ["../_base_/data/nuclei.py", "../_base_/methods/cps.py"]
model = dict(
    _base_.method, strong=dict(type="StrongPhotometric"), mix=dict(type="CutMix"), unsup_weight=1.0
)
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=8)))
