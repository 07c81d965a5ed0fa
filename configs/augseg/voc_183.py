# AugSeg on PASCAL VOC 2012, 183 labelled + 10,399 unlabelled images; 80 x 650 = 52,000 iterations.
# Published: 75.45 mIoU (logs of the released code, best teacher epoch); last epoch 71.44.
_base_ = ["../_base_/data/voc_augseg.py", "../_base_/methods/augseg.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_183")))
train_cfg = dict(max_iters=52000)
