# AugSeg on PASCAL VOC 2012, 366 labelled + 10,216 unlabelled images; 80 x 638 = 51,040 iterations.
# Published: 78.66 mIoU (logs of the released code, best teacher epoch; README 78.80: student); last epoch 77.29.
_base_ = ["../_base_/data/voc_augseg.py", "../_base_/methods/augseg.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_366")))
train_cfg = dict(max_iters=51040)
