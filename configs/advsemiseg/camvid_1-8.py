# AdvSemiSeg on CamVid, 45 labelled + 322 unlabelled images; 4,000 iterations, settings are ours. Pseudo-labels from a quarter of the run on, as published.
_base_ = ["../_base_/data/camvid.py", "../_base_/methods/advsemiseg.py"]
model = dict(_base_.method, unsup_start=1000)
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(sources=dict(gt=_base_.covering_gt)))
train_dataloader["sampler"] = dict(num_per_source=dict(gt=8))
