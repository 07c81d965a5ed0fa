# s4GAN on CamVid, 45 labelled + 322 unlabelled images; 4,000 iterations, settings are ours.
_base_ = ["../_base_/data/camvid.py", "../_base_/methods/s4gan.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(sources=dict(gt=_base_.gt)))
train_dataloader["sampler"] = dict(num_per_source=dict(gt=8))
