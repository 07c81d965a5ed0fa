# UniMatch V2 on COCO 1/256, 463 labelled + 117,824 unlabelled images, DINOv2-S; 20 x 7,364 = 147,280 iterations.
# Published: 45.4 mIoU; DINOv2-B 55.8 (README of the released code).
_base_ = ["../_base_/data/coco_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="unimatch_coco_1of256")))
train_cfg = dict(max_iters=147280)
