# AdvSemiSeg on Cityscapes 1/2, 1,487 labelled + 1,488 unlabelled images; 40,000 iterations.
# Published: 65.7 mIoU [Q]; in the paper's first version 64.5 [V].
_base_ = ["../_base_/data/cityscapes_advsemiseg.py", "../_base_/methods/advsemiseg.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 2)))
