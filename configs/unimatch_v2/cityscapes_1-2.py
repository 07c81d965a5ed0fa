# UniMatch V2 on Cityscapes 1/2, 1,488 labelled + 1,487 unlabelled images, DINOv2-S; 180 x 186 = 33,480 iterations.
# Published: 82.6 mIoU; DINOv2-B 85.1 (README of the released code).
_base_ = ["../_base_/data/cityscapes_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of2")))
train_cfg = dict(max_iters=33480)
