# UniMatch V2 on ADE20K 1/4, 5,052 labelled + 15,158 unlabelled images, DINOv2-S; 60 x 1,895 = 113,700 iterations.
# Published: 45.8 mIoU; DINOv2-B 52.0 (README of the released code).
_base_ = ["../_base_/data/ade20k_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="v2_ade_1of4")))
train_cfg = dict(max_iters=113700)
