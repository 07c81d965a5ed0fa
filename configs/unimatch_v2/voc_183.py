# UniMatch V2 on PASCAL VOC 2012, 183 labelled + 10,399 unlabelled images, DINOv2-S; 60 x 650 = 39,000 iterations.
# Published: 85.5 mIoU; DINOv2-B 87.9 (README of the released code).
_base_ = ["../_base_/data/voc_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_183")))
train_cfg = dict(max_iters=39000)
