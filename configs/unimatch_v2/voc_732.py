# UniMatch V2 on PASCAL VOC 2012, 732 labelled + 9,850 unlabelled images, DINOv2-S; 60 x 615 = 36,900 iterations.
# Published: 86.7 mIoU; DINOv2-B 90.0 (README of the released code).
_base_ = ["../_base_/data/voc_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_732")))
train_cfg = dict(max_iters=36900)
