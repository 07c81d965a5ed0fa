# U2PL on PASCAL VOC 2012 1/2, 5,291 labelled + 5,291 unlabelled images; 80 x 330 = 26,400 iterations.
# Published: 80.50 mIoU (README of the released code, best epoch).
_base_ = ["../_base_/data/voc_u2pl.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, percent_iters=330, warmup_iters=330)
train_dataloader = dict(dataset=dict(split=dict(name="u2pl_voc_blender_5291")))
train_cfg = dict(max_iters=26400)
