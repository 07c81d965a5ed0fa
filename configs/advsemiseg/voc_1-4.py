# AdvSemiSeg on PASCAL VOC 2012 1/4, 2,645 labelled + 7,937 unlabelled images; 20,000 iterations.
# Published: 72.1 mIoU [Q]; in the paper's first version 71.6 [V].
_base_ = ["../_base_/data/voc_advsemiseg.py", "../_base_/methods/advsemiseg.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 4)))
