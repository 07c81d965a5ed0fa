# CPS+CutMix on CamVid, 45 labelled + 322 unlabelled images; 4,000 iterations, settings are ours. Ramped up over half of the run, since the net starts from random weights.
_base_ = ["../_base_/data/camvid.py", "../_base_/methods/cps.py"]
model = dict(_base_.method, mix=dict(type="CutMix"), unsup_weight=0.3, rampup_iters=2000)
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=16)))
