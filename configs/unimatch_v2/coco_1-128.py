# UniMatch V2 on COCO 1/128, 925 labelled + 117,362 unlabelled images, DINOv2-S; 20 x 7,335 = 146,700 iterations.
# Published: 53.2 mIoU; DINOv2-B 58.7 (README of the released code).
_base_ = ["../_base_/data/coco_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="unimatch_coco_1of128")))
train_cfg = dict(max_iters=146700)
