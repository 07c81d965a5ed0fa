# UniMatch V2 on ADE20K 1/64, 316 labelled + 19,894 unlabelled images, DINOv2-S; 60 x 2,487 = 149,220 iterations.
# Published: 31.5 mIoU; DINOv2-B 38.7 (README of the released code).
_base_ = ["../_base_/data/ade20k_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="v2_ade_1of64")))
train_cfg = dict(max_iters=149220)
