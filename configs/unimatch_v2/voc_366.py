# UniMatch V2 on PASCAL VOC 2012, 366 labelled + 10,216 unlabelled images, DINOv2-S; 60 x 638 = 38,280 iterations.
# Published: 85.9 mIoU; DINOv2-B 88.9 (README of the released code).
_base_ = ["../_base_/data/voc_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_366")))
train_cfg = dict(max_iters=38280)
