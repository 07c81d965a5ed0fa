# AugSeg on Cityscapes 1/4, 744 labelled + 2,231 unlabelled images; 240 x 139 = 33,360 iterations.
# Published: 79.56 mIoU, R50 78.76 (logs of the released code, best teacher epoch); last epoch 79.41, R50 78.76.
_base_ = ["../_base_/data/cityscapes_augseg.py", "../_base_/methods/augseg.py"]
model = _base_.on_cityscapes
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of4")))
train_cfg = dict(max_iters=33360)
