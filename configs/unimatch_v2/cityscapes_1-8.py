# UniMatch V2 on Cityscapes 1/8, 372 labelled + 2,603 unlabelled images, DINOv2-S; 180 x 325 = 58,500 iterations.
# Published: 81.9 mIoU; DINOv2-B 84.3 (README of the released code).
_base_ = ["../_base_/data/cityscapes_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of8")))
train_cfg = dict(max_iters=58500)
