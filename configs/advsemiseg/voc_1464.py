# AdvSemiSeg on PASCAL VOC 2012 train, 1,464 labelled images, with SBD's as 9,118 unlabelled ones; 20,000 iterations.
# Published: 68.4 mIoU [V].
_base_ = ["../_base_/data/voc_advsemiseg.py", "../_base_/methods/advsemiseg.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=_base_.voc_train))
