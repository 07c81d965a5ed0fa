# UniMatch V2 on ADE20K 1/8, 2,526 labelled + 17,684 unlabelled images, DINOv2-S; 60 x 2,210 = 132,600 iterations.
# Published: 44.4 mIoU; DINOv2-B 49.8 (README of the released code).
_base_ = ["../_base_/data/ade20k_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="v2_ade_1of8")))
train_cfg = dict(max_iters=132600)
