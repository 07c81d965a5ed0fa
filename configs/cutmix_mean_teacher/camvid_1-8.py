# CutMix mean teacher on CamVid, 45 labelled + 322 unlabelled images; 4,000 iterations, settings are ours. Ramped up over half of the run, since the net starts from random weights.
_base_ = ["../_base_/data/camvid.py", "../_base_/methods/cutmix_mean_teacher.py"]
model = dict(_base_.method, rampup_iters=2000)
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=16)))
