# UniMatch V2 on Cityscapes 1/4, 744 labelled + 2,231 unlabelled images, DINOv2-S; 180 x 279 = 50,220 iterations.
# Published: 82.4 mIoU; DINOv2-B 84.5 (README of the released code).
_base_ = ["../_base_/data/cityscapes_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of4")))
train_cfg = dict(max_iters=50220)
