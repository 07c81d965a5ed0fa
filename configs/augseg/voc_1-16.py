# AugSeg on PASCAL VOC 2012 1/16, 662 labelled + 9,920 unlabelled images; 80 x 620 = 49,600 iterations.
# Published: 77.01 mIoU, R50 74.66 (logs of the released code, best teacher epoch); last logged epoch 76.52, R50 74.55.
_base_ = ["../_base_/data/voc_augseg.py", "../_base_/methods/augseg.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of16")))
train_cfg = dict(max_iters=49600)
