# AdvSemiSeg on the built-in set. Not tuned. Pseudo-labels from a quarter of the run on, as published.
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/advsemiseg.py"]
model = dict(_base_.method, discriminator=_base_.narrow, unsup_start=300)
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(sources=dict(gt=_base_.covering_gt)))
train_dataloader["sampler"] = dict(num_per_source=dict(gt=8))
