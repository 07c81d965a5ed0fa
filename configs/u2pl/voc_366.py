# U2PL on PASCAL VOC 2012, 366 labelled + 10,216 unlabelled images; 80 x 638 = 51,040 iterations.
# Published: 73.66 mIoU (README of the released code, best epoch).
_base_ = ["../_base_/data/voc_u2pl.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, percent_iters=638, warmup_iters=638)
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_366")))
train_cfg = dict(max_iters=51040)
