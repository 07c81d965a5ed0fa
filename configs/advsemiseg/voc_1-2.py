# AdvSemiSeg on PASCAL VOC 2012 1/2, 5,291 labelled + 5,291 unlabelled images; 20,000 iterations.
# Published: 73.8 mIoU [R]; in the paper's first version 73.2 [V].
_base_ = ["../_base_/data/voc_advsemiseg.py", "../_base_/methods/advsemiseg.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 2)))
