# AdvSemiSeg on all of Cityscapes, 2,975 labelled images: the adversarial loss alone, as none is unlabelled; 40,000 iterations.
# Published: 67.7 mIoU [V].
_base_ = ["../_base_/data/cityscapes_advsemiseg.py", "../_base_/methods/advsemiseg.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=None))
