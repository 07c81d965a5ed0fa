# AdvSemiSeg on Cityscapes 1/4, 743 labelled + 2,232 unlabelled images; 40,000 iterations.
# Published: 62.3 mIoU [Q]; in the paper's first version 59.7 [V].
_base_ = ["../_base_/data/cityscapes_advsemiseg.py", "../_base_/methods/advsemiseg.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 4)))
