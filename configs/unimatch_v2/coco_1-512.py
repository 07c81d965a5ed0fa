# UniMatch V2 on COCO 1/512, 232 labelled + 118,055 unlabelled images, DINOv2-S; 20 x 7,378 = 147,560 iterations.
# Published: 39.3 mIoU; DINOv2-B 47.9 (README of the released code).
_base_ = ["../_base_/data/coco_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="unimatch_coco_1of512")))
train_cfg = dict(max_iters=147560)
