# AugSeg on Cityscapes 1/16, 186 labelled + 2,789 unlabelled images; 240 x 174 = 41,760 iterations.
# Published: 75.22 mIoU, R50 73.73 (logs of the released code, best teacher epoch); last logged epoch 74.85, R50 73.52.
_base_ = ["../_base_/data/cityscapes_augseg.py", "../_base_/methods/augseg.py"]
model = _base_.on_cityscapes
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of16")))
train_cfg = dict(max_iters=41760)
