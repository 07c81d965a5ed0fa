# AugSeg on PASCAL VOC 2012, 732 labelled + 9,850 unlabelled images; 80 x 615 = 49,200 iterations.
# Published: 80.33 mIoU (logs of the released code, best teacher epoch); last epoch 79.66.
_base_ = ["../_base_/data/voc_augseg.py", "../_base_/methods/augseg.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_732")))
train_cfg = dict(max_iters=49200)
