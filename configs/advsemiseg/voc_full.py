# AdvSemiSeg on all of PASCAL VOC 2012, 10,582 labelled images: the adversarial loss alone, as none is unlabelled; 20,000 iterations.
# Published: 74.9 mIoU [V].
_base_ = ["../_base_/data/voc_advsemiseg.py", "../_base_/methods/advsemiseg.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=None))
