# UniMatch V2 on ADE20K 1/16, 1,263 labelled + 18,947 unlabelled images, DINOv2-S; 60 x 2,368 = 142,080 iterations.
# Published: 40.7 mIoU; DINOv2-B 46.7 (README of the released code).
_base_ = ["../_base_/data/ade20k_unimatch_v2.py", "../_base_/methods/unimatch_v2.py"]
model = _base_.on_transformers
train_dataloader = dict(dataset=dict(split=dict(name="v2_ade_1of16")))
train_cfg = dict(max_iters=142080)
