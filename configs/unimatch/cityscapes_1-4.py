# UniMatch V1 on Cityscapes 1/4, 744 labelled + 2,231 unlabelled images; 240 x 279 = 66,960 iterations.
# Published: 79.2 mIoU; R50 77.5 (README of the released code).
_base_ = ["../_base_/data/cityscapes_unimatch.py", "../_base_/methods/unimatch.py"]
model = dict(_base_.released, threshold=0.0)
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of4")))
train_cfg = dict(max_iters=66960)
