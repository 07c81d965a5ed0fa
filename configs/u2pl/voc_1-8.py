# U2PL on PASCAL VOC 2012 1/8, 1,323 labelled + 9,259 unlabelled images; 80 x 578 = 46,240 iterations.
# Published: 79.01 mIoU (README of the released code, best epoch).
_base_ = ["../_base_/data/voc_u2pl.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, percent_iters=578, warmup_iters=578)
train_dataloader = dict(dataset=dict(split=dict(name="u2pl_voc_blender_1323")))
train_cfg = dict(max_iters=46240)
