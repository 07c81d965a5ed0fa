# UniMatch V2 on COCO 1/32, 3,697 labelled + 114,590 unlabelled images, DINOv2-S; 20 x 7,162 = 143,240 iterations.
# Published: 57.0 mIoU; DINOv2-B 63.3 (README of the released code).
_base_ = ["../_base_/data/coco_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="unimatch_coco_1of32")))
train_cfg = dict(max_iters=143240)
