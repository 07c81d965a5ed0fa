# AdvSemiSeg on CamVid, 6 labelled images; settings are ours.
_base_ = ["../_base_/data/camvid_lite0.py", "../_base_/methods/advsemiseg.py"]
model = dict(_base_.method, discriminator=_base_.narrow, unsup_start=75)
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(sources=dict(gt=_base_.gt)))
train_dataloader["sampler"] = dict(num_per_source=dict(gt=4))
