# U2PL on PASCAL VOC 2012, 1,464 labelled + 9,118 unlabelled images; 80 x 570 = 45,600 iterations.
# Published: 79.49 mIoU (README of the released code, best epoch).
_base_ = ["../_base_/data/voc_u2pl.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, percent_iters=570, warmup_iters=570)
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_1464")))
train_cfg = dict(max_iters=45600)
