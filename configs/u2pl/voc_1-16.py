# U2PL on PASCAL VOC 2012 1/16, 662 labelled + 9,920 unlabelled images; 80 x 620 = 49,600 iterations.
# Published: 77.21 mIoU (README of the released code, best epoch).
_base_ = ["../_base_/data/voc_u2pl.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, percent_iters=620, warmup_iters=620)
train_dataloader = dict(dataset=dict(split=dict(name="u2pl_voc_blender_662")))
train_cfg = dict(max_iters=49600)
