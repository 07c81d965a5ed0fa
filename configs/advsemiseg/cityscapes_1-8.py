# AdvSemiSeg on Cityscapes 1/8, 371 labelled + 2,604 unlabelled images; 40,000 iterations.
# Published: 58.8 mIoU [Q] (Hung et al., BMVC 2018); in the paper's first version 54.2 [V].
_base_ = ["../_base_/data/cityscapes_advsemiseg.py", "../_base_/methods/advsemiseg.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 8)))
