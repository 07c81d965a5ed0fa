# UniMatch V1 on Cityscapes 1/2, 1,488 labelled + 1,487 unlabelled images; 240 x 186 = 44,640 iterations.
# Published: 79.5 mIoU; R50 78.6 (README of the released code).
_base_ = ["../_base_/data/cityscapes_unimatch.py", "../_base_/methods/unimatch.py"]
model = dict(_base_.released, threshold=0.0)
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of2")))
train_cfg = dict(max_iters=44640)
