# AugSeg on PASCAL VOC 2012 1/8, 1,323 labelled + 9,259 unlabelled images; 80 x 578 = 46,240 iterations.
# Published: 77.31 mIoU, R50 75.99 (logs of the released code, best teacher epoch); last epoch 76.72, R50 75.68.
_base_ = ["../_base_/data/voc_augseg.py", "../_base_/methods/augseg.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of8")))
train_cfg = dict(max_iters=46240)
