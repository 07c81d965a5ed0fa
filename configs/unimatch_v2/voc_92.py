# UniMatch V2 on PASCAL VOC 2012, 92 labelled + 10,490 unlabelled images, DINOv2-S; 60 x 655 = 39,300 iterations.
# Published: 79.0 mIoU; DINOv2-B 86.3 (README of the released code).
_base_ = ["../_base_/data/voc_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_92")))
train_cfg = dict(max_iters=39300)
