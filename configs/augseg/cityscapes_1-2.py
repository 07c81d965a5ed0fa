# AugSeg on Cityscapes 1/2, 1,488 labelled + 1,487 unlabelled images; 240 x 93 = 22,320 iterations.
# Published: 80.43 mIoU, R50 79.33 (logs of the released code, best teacher epoch); last logged epoch 79.95, R50 79.29.
_base_ = ["../_base_/data/cityscapes_augseg.py", "../_base_/methods/augseg.py"]
model = _base_.on_cityscapes
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of2")))
train_cfg = dict(max_iters=22320)
