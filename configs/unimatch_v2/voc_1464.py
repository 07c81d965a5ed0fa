# UniMatch V2 on PASCAL VOC 2012, 1,464 labelled + 9,118 unlabelled images, DINOv2-S; 60 x 570 = 34,200 iterations.
# Published: 87.8 mIoU; DINOv2-B 90.8 (README of the released code).
_base_ = ["../_base_/data/voc_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_1464")))
train_cfg = dict(max_iters=34200)
