# AugSeg on PASCAL VOC 2012, 1,464 labelled + 9,118 unlabelled images; 80 x 569 = 45,520 iterations.
# Published: 81.36 mIoU (logs of the released code, best teacher epoch); last epoch 80.99.
_base_ = ["../_base_/data/voc_augseg.py", "../_base_/methods/augseg.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_1464")))
train_cfg = dict(max_iters=45520)
