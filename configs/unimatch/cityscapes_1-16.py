# UniMatch V1 on Cityscapes 1/16, 186 labelled + 2,789 unlabelled images; 240 x 349 = 83,760 iterations.
# Published: 76.6 mIoU; R50 75.0 (README of the released code).
_base_ = ["../_base_/data/cityscapes_unimatch.py", "../_base_/methods/unimatch.py"]
model = dict(_base_.released, threshold=0.0)
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of16")))
train_cfg = dict(max_iters=83760)
