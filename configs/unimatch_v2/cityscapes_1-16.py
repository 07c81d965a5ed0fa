# UniMatch V2 on Cityscapes 1/16, 186 labelled + 2,789 unlabelled images, DINOv2-S; 180 x 349 = 62,820 iterations.
# Published: 80.6 mIoU; DINOv2-B 83.6 (README of the released code).
_base_ = ["../_base_/data/cityscapes_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of16")))
train_cfg = dict(max_iters=62820)
