# U2PL on PASCAL VOC 2012 1/4, 2,646 labelled + 7,936 unlabelled images; 80 x 496 = 39,680 iterations.
# Published: 79.30 mIoU (README of the released code, best epoch).
_base_ = ["../_base_/data/voc_u2pl.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, percent_iters=496, warmup_iters=496)
train_dataloader = dict(dataset=dict(split=dict(name="u2pl_voc_blender_2646")))
train_cfg = dict(max_iters=39680)
