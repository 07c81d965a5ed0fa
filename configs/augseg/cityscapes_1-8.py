# AugSeg on Cityscapes 1/8, 372 labelled + 2,603 unlabelled images; 240 x 162 = 38,880 iterations.
# Published: 77.82 mIoU, R50 76.49 (logs of the released code, best teacher epoch); last epoch 77.47, R50 76.21.
_base_ = ["../_base_/data/cityscapes_augseg.py", "../_base_/methods/augseg.py"]
model = _base_.on_cityscapes
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of8")))
train_cfg = dict(max_iters=38880)
