# UniMatch V2 on ADE20K 1/32, 631 labelled + 19,579 unlabelled images, DINOv2-S; 60 x 2,447 = 146,820 iterations.
# Published: 38.1 mIoU; DINOv2-B 45.0 (README of the released code).
_base_ = ["../_base_/data/ade20k_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="v2_ade_1of32")))
train_cfg = dict(max_iters=146820)
