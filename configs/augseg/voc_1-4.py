# AugSeg on PASCAL VOC 2012 1/4, 2,646 labelled + 7,936 unlabelled images; 80 x 496 = 39,680 iterations.
# Published: 78.82 mIoU, R50 77.16 (logs of the released code, best teacher epoch); last epoch 78.52, R50 77.03.
_base_ = ["../_base_/data/voc_augseg.py", "../_base_/methods/augseg.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of4")))
train_cfg = dict(max_iters=39680)
