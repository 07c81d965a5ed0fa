# UniMatch V2 on COCO 1/64, 1,849 labelled + 116,438 unlabelled images, DINOv2-S; 20 x 7,277 = 145,540 iterations.
# Published: 55.0 mIoU; DINOv2-B 60.4 (README of the released code).
_base_ = ["../_base_/data/coco_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="unimatch_coco_1of64")))
train_cfg = dict(max_iters=145540)
